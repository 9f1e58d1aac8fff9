// job_helper WAY TIMEOUT: a small parallel program that ends in the given way; see job_end_test.cpp.
#include <ATen/ATen.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "dist/communicator.h"

namespace {

using namespace spankey;

void all_reduce(Communicator& world) {
  auto values = at::full({5}, 1.0);
  world.all_reduce(values);
  if (values[0].item<float>() != static_cast<float>(world.size())) fail_run("communication does nothing");
}

void sleep_long() {
  std::this_thread::sleep_for(std::chrono::seconds(60));
}

// One of "training", for as long as nobody disturbs it. Each rank leaves the file rank<N>.pid once it has begun.
void train(Communicator& world, int steps) {
  for (int step = 0; step < steps; ++step) {
    world.begin_step(fmt::format("epoch 4, step {}", step));
    all_reduce(world);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if (step == 40) std::ofstream(fmt::format("rank{}.pid", world.rank())) << getpid() << std::endl;
  }
}

void run(Communicator& world, const std::string& way) {
  world.set_place("evaluation after epoch 3");
  all_reduce(world);
  const bool chosen = world.rank() == world.size() - 1;
  if (way == "train") train(world, 100000);
  if (way == "late" || way == "save") train(world, 20);
  world.begin_step("epoch 4, step 20");
  if (chosen && way == "late") sleep_long();
  if (world.rank() == 0 && way == "save") {
    world.set_place("a checkpoint");
    std::this_thread::sleep_for(std::chrono::seconds(3));
  }
  if (chosen && way == "throw") fail_run("rank {} cannot go on", world.rank());
  if (chosen && way == "unwind") fail_run("rank {} unwinds", world.rank());
  if (chosen && way == "crash") std::abort();
  if (chosen && way == "requeue") world.abort(75);
  if (chosen && way == "end late") sleep_long();
  if (way != "end" && way != "end late") all_reduce(world);
  world.set_place("the end");
}

}  // namespace

int main(int, char** argv) {
  const std::string way = argv[1];
  try {
    const auto world = make_communicator(Backend::auto_, std::atof(argv[2]));
    log::start(world->rank(), world->size());
    log::add_file(".");
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
