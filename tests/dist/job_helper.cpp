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
#include "base/shutdown.h"
#include "dist/backend.h"
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

// One of "training". Each rank leaves the file rank<N>.pid once it has begun.
void take_step(Communicator& world, int step) {
  world.begin_step(fmt::format("epoch 4, step {}", step));
  all_reduce(world);
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  if (step == 40) std::ofstream(fmt::format("rank{}.pid", world.rank())) << getpid() << std::endl;
}

void train(Communicator& world, int steps) {
  for (int step = 0; step < steps; ++step) take_step(world, step);
}

// Until a signal arrives: at any rank, or at this one.
void train_until_asked(Communicator& world, bool alone) {
  shutdown::install_handlers();
  for (int step = 0;; ++step) {
    take_step(world, step);
    auto wish = at::full({1}, shutdown::requested() ? 1 : 0, at::kLong);
    if (alone && wish.item<std::int64_t>() != 0) return;
    world.all_reduce(wish, ReduceOp::max);
    if (wish.item<std::int64_t>() != 0) return;
  }
}

// The exit code.
int run(Communicator& world, const std::string& way) {
  world.set_place("evaluation after epoch 3");
  all_reduce(world);
  if (way == "leave together" || way == "leave alone") {
    train_until_asked(world, way == "leave alone");
    return static_cast<int>(ExitCode::requeue);
  }
  const bool chosen = world.rank() == world.size() - 1;
  if (chosen && way == "keep silent") return 0;
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
  return 0;
}

}  // namespace

int main(int, char** argv) {
  const std::string way = argv[1];
  try {
    const auto world = make_communicator(Backend::auto_, std::atof(argv[2]));
    log::start(world->rank(), world->size());
    log::add_file(".");
    int code = 0;
    if (way == "unwind") {
      code = run(*world, way);
    } else {
      try {
        code = run(*world, way);
      } catch (const Error& error) {
        log::error("{}", error.what());
        world->abort(static_cast<int>(error.code()));
      }
    }
    std::printf("%d ranks ended well\n", world->size());
    return code;
  } catch (const Error& error) {
    log::error("{}", error.what());
    return static_cast<int>(error.code());
  }
}
