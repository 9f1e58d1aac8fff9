// job_helper WAY TIMEOUT: a small parallel program that ends in the given way; see job_end_test.cpp.
#include <ATen/ATen.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "dist/communicator.h"

namespace {

using namespace spankey;

void run(Communicator& world, const std::string& way) {
  world.set_place("epoch 4, step 17");
  auto values = at::full({5}, 1.0);
  world.all_reduce(values);
  if (values[0].item<float>() != static_cast<float>(world.size())) fail_run("communication does nothing");
  const bool chosen = world.rank() == world.size() - 1;
  if (chosen && way == "sleep") std::this_thread::sleep_for(std::chrono::seconds(60));
  if (chosen && way == "stop") raise(SIGSTOP);
  if (chosen && way == "throw") fail_run("rank {} cannot go on", world.rank());
  if (chosen && way == "unwind") fail_run("rank {} unwinds", world.rank());
  if (chosen && way == "requeue") world.abort(75);
  if (chosen && way == "end late") std::this_thread::sleep_for(std::chrono::seconds(60));
  if (way != "end" && way != "end late") world.all_reduce(values);
}

}  // namespace

int main(int, char** argv) {
  const std::string way = argv[1];
  try {
    const auto world = make_communicator(Backend::auto_, std::atof(argv[2]));
    log::start(world->rank(), world->size());
    if (way == "unwind") {
      run(*world, way);
    } else {
      try {
        run(*world, way);
      } catch (const Error& error) {
        log::error("{}", error.what());
        world->abort(static_cast<int>(error.code()));
      }
    }
    std::printf("%d ranks ended well\n", world->size());
    return 0;
  } catch (const Error& error) {
    log::error("{}", error.what());
    return static_cast<int>(error.code());
  }
}
