// Times our training step as the trainer runs it. It is the counterpart of bench/py_baseline.py and prints one JSON
// line on rank 0.
//   [mpirun -np 2] bench_train_step CONFIG [key=value ...] [--steps N]
// The configuration decides where and how. train.device=cuda asks for a GPU, train.capture=on for a captured step, off
// for the eager one, and train.precision=bf16 for bfloat16. The line has these figures.
//
//   device               the GPU's name or "cpu"
//   flow                 "captured", "resident" (the captured flow of a CPU), or "eager"
//   step_ms_median, _p99, _min
//                        of a step on a batch that is already there. Captured steps are measured in blocks of 10 and
//                        waited for only at their end, with data and keys drawn anew in each
//   samples_per_second   of the median step
//   bucket_bytes         of gradients, bucket by bucket in the order in which they leave
//   kernels_per_step     of a captured step on a GPU, else 0
//   host_waits_per_step  how often the host waits for the GPU in a step, but for reading figures every so many steps
//   loader_step_ms, epoch_seconds
//                        with the batches of an epoch made as the trainer makes them
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <numeric>
#include <string>

#include "base/error.h"
#include "bench/bench_main.h"
#include "data/assembler.h"
#include "data/sampler.h"
#include "dist/backend.h"
#include "train/experiment.h"
#include "train/resident_step.h"
#include "train/resources.h"
#include "train/stepper.h"

namespace spankey {
namespace {

using Clock = std::chrono::steady_clock;

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

double resident_megabytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) / 1024.0;
  return 0.0;
}

// Returns the microseconds to gather, augment and normalise one sample on the calling thread.
double assembly_microseconds(const Experiment& experiment, std::int64_t batch) {
  const auto& config = experiment.config;
  const Assembler assemble(*experiment.dataset, experiment.dataset->train(), config.data.augment, 42, Purpose::augment,
                           config.data.rotation);
  const Sampler sampler(experiment.train_samples(), batch, /*drop_last=*/true, 42);
  const auto batches = std::min<std::int64_t>(400, sampler.steps_per_epoch());
  at::Tensor x, labels;
  const auto pass = [&] {
    for (std::int64_t step = 0; step < batches; ++step) assemble.serially(sampler.global_batch(0, step), 0, x, labels);
  };
  pass();  // the first touch of a mapped page is the kernel's time
  const auto begin = Clock::now();
  pass();
  return 1e3 * milliseconds_since(begin) / static_cast<double>(batches * batch);
}

// Returns the bytes of gradients in each bucket of the reducer, in the order in which they leave. bench/scaling asks
// for them.
std::vector<std::int64_t> bucket_bytes(const StepParts& parts) {
  std::vector<std::int64_t> bytes;
  for (const auto& bucket : parts.reducer.buckets()) {
    auto& sum = bytes.emplace_back(0);
    for (auto entry = bucket.first; entry < bucket.last; ++entry)
      sum +=
          parts.parameters.entries()[static_cast<std::size_t>(entry)].size * static_cast<std::int64_t>(sizeof(float));
  }
  return bytes;
}

// Takes the steps of one of the trainer's two flows.
class TimedSteps {
 public:
  TimedSteps(const Experiment& experiment, const Basis& basis, Communicator& communicator)
      : experiment_(experiment),
        stepper_(make_stepper(experiment, basis, resolve_shards(experiment.config, communicator.size()), communicator)),
        resident_(dynamic_cast<ResidentStep*>(stepper_.get())) {
    if (!resident_) fixed_ = parts().load(0, 0);
  }

  std::string flow() const {
    if (!resident_) return "eager";
    return experiment_.placement.device.is_cpu() ? "resident" : "captured";
  }
  TrainingParts& parts() const { return stepper_->parts(); }
  std::int64_t kernels() const { return resident_ ? resident_->kernels() : 0; }
  // Takes full steps without a look at their figures, for which a captured flow waits now and then only.
  std::int64_t host_waits(std::int64_t steps) {
    const auto waits = spankey::host_waits(experiment_.placement, [&] {
      for (std::int64_t i = 0; i < steps; ++i) step(/*with_loader=*/false);
    });
    if (resident_) resident_->collect();
    return waits;
  }

  // Returns milliseconds of each of `steps` steps. With `with_loader` each works on the batch of its place.
  std::vector<double> time(std::int64_t steps, bool with_loader) {
    std::vector<double> times;
    while (std::ssize(times) < steps) {
      const auto block = resident_ ? std::min<std::int64_t>(10, steps - std::ssize(times)) : 1;
      const auto begin = Clock::now();
      for (std::int64_t i = 0; i < block; ++i) step(with_loader);
      if (resident_) resident_->collect();
      times.insert(times.end(), static_cast<std::size_t>(block),
                   milliseconds_since(begin) / static_cast<double>(block));
    }
    return times;
  }

 private:
  // Takes full batches only.
  void step(bool with_loader) {
    const auto steps = std::max<std::int64_t>(1, experiment_.train_samples() / experiment_.config.train.global_batch);
    const Cursor at{.epoch = taken_ / steps, .step = taken_ % steps, .global_step = taken_};
    ++taken_;
    const double lr = experiment_.config.optim.lr;
    if (resident_)
      resident_->launch(at, lr);
    else
      parts().step(with_loader ? parts().load(at.epoch, at.step) : fixed_, at, lr, false);
  }

  const Experiment& experiment_;
  std::unique_ptr<Stepper> stepper_;
  ResidentStep* resident_;  // set where the steps are resident
  Batch fixed_;
  std::int64_t taken_ = 0;
};

void run(const std::string& file, const std::vector<std::string>& overrides, std::int64_t steps) {
  const auto config = load_config(file, overrides);
  const auto host = make_communicator(config.dist.backend, config.dist.timeout_seconds);
  at::set_num_threads(resolve_threads(config, host->node_size()));
  const auto placement = place(config, *host);
  const auto on_device = make_device_communicator(config, placement, *host);
  auto& communicator = on_device ? *on_device : *host;
  const auto experiment = make_experiment(config, placement);
  TimedSteps timed(experiment, make_basis(config.key, experiment.key_dims, 42), communicator);
  experiment.model->train();

  constexpr std::int64_t warm_up = 20;
  timed.time(warm_up, /*with_loader=*/false);
  auto times = timed.time(steps, /*with_loader=*/false);
  constexpr std::int64_t counted = 10;
  const auto waits = static_cast<double>(timed.host_waits(counted)) / counted;
  timed.time(warm_up, /*with_loader=*/true);
  communicator.barrier();
  const auto loaded = timed.time(steps, /*with_loader=*/true);  // as many epochs as they are
  const double with_loader = std::accumulate(loaded.begin(), loaded.end(), 0.0) / static_cast<double>(loaded.size());

  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  const nlohmann::json line{
      {"who", "spankey"},
      {"model", config.model.name},
      {"device", placement.name},
      {"flow", timed.flow()},
      {"precision", to_string(config.train.precision)},
      {"tf32", at::globalContext().allowTF32CuDNN() || at::globalContext().allowTF32CuBLAS()},
      {"batch", config.train.global_batch},
      {"threads", at::get_num_threads()},
      {"ranks", communicator.size()},
      {"step_ms_median", median},
      {"step_ms_p99", times[std::min(times.size() - 1, times.size() * 99 / 100)]},
      {"step_ms_min", times.front()},
      {"bucket_bytes", bucket_bytes(timed.parts().step_parts())},
      {"kernels_per_step", timed.kernels()},
      {"host_waits_per_step", waits},
      {"samples_per_second", 1e3 * static_cast<double>(config.train.global_batch) / median},
      {"loader_step_ms", with_loader},
      {"epoch_seconds", 1e-3 * with_loader * static_cast<double>(timed.parts().steps_per_epoch())},
      {"loader_us_per_sample", assembly_microseconds(experiment, config.train.global_batch)},
      {"resident_mb", resident_megabytes()}};
  if (communicator.rank() == 0) fmt::print("{}\n", line.dump());
}

}  // namespace
}  // namespace spankey

int main(int argc, char** argv) {
  spankey::keep_freed_memory();
  return spankey::exit_code_of("bench_train_step", [&] {
    std::vector<std::string> words(argv + 1, argv + argc);
    std::int64_t steps = 60;
    if (const auto flag = std::find(words.begin(), words.end(), "--steps");
        flag != words.end() && flag + 1 != words.end()) {
      steps = std::stoll(flag[1]);
      words.erase(flag, flag + 2);
    }
    if (words.empty()) spankey::fail_input("usage: bench_train_step CONFIG [key=value ...] [--steps N]");
    spankey::run(words[0], {words.begin() + 1, words.end()}, steps);
  });
}
