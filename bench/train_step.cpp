// Times our training step as the trainer runs it: the counterpart of bench/py_baseline.py, one JSON line on rank 0.
//   [mpirun -np 2] bench_train_step CONFIG [key=value ...] [--steps N]
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <malloc.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <climits>
#include <fstream>
#include <string>

#include "data/assembler.h"
#include "data/sampler.h"
#include "train/experiment.h"
#include "train/training_parts.h"

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

// Microseconds to gather, augment and normalise one sample on the calling thread.
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

void run(const std::string& file, const std::vector<std::string>& overrides, std::int64_t steps) {
  const auto config = load_config(file, overrides);
  const auto communicator = make_communicator(config.dist.backend, config.dist.timeout_seconds);
  at::set_num_threads(resolve_threads(config, communicator->local_size()));
  const auto experiment = make_experiment(config);
  const auto basis = make_basis(config.key, experiment.key_dims, 42);
  TrainingParts parts(experiment, basis, resolve_shards(config, communicator->size()), *communicator);
  experiment.model->train();

  constexpr std::int64_t warm_up = 20;
  const auto fixed = parts.loader().load(0, 0);
  std::vector<double> times;
  for (std::int64_t i = 0; i < warm_up + steps; ++i) {
    const auto begin = Clock::now();
    parts.step(fixed, {.epoch = 0, .step = i, .global_step = i}, config.optim.lr, false);
    if (i >= warm_up) times.push_back(milliseconds_since(begin));
  }
  const auto loader_steps = std::min(steps, parts.steps_per_epoch());
  communicator->barrier();
  const auto begin = Clock::now();
  for (std::int64_t i = 0; i < loader_steps; ++i)
    parts.step(parts.loader().load(0, i), {.epoch = 0, .step = i, .global_step = i}, config.optim.lr, false);
  const double with_loader = milliseconds_since(begin) / static_cast<double>(loader_steps);

  std::sort(times.begin(), times.end());
  const nlohmann::json line{{"who", "spankey"},
                            {"model", config.model.name},
                            {"batch", config.train.global_batch},
                            {"threads", at::get_num_threads()},
                            {"ranks", communicator->size()},
                            {"step_ms_median", times[times.size() / 2]},
                            {"step_ms_min", times.front()},
                            {"loader_step_ms", with_loader},
                            {"epoch_seconds", 1e-3 * with_loader * static_cast<double>(parts.steps_per_epoch())},
                            {"loader_us_per_sample", assembly_microseconds(experiment, config.train.global_batch)},
                            {"resident_mb", resident_megabytes()}};
  if (communicator->rank() == 0) fmt::print("{}\n", line.dump());
}

}  // namespace
}  // namespace spankey

int main(int argc, char** argv) {
  mallopt(M_MMAP_THRESHOLD, 1 << 30);  // as the program itself does
  mallopt(M_TRIM_THRESHOLD, INT_MAX);
  std::vector<std::string> words(argv + 1, argv + argc);
  std::int64_t steps = 60;
  if (const auto flag = std::find(words.begin(), words.end(), "--steps");
      flag != words.end() && flag + 1 != words.end()) {
    steps = std::stoll(flag[1]);
    words.erase(flag, flag + 2);
  }
  if (words.empty()) {
    fmt::print(stderr, "usage: bench_train_step CONFIG [key=value ...] [--steps N]\n");
    return 2;
  }
  try {
    spankey::run(words[0], {words.begin() + 1, words.end()}, steps);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_train_step: {}\n", error.what());
    return 3;
  }
  return 0;
}
