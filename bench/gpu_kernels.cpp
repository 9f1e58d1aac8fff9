// Measures how near a GPU's limits the fused kernels are. It prints one table, and with --json it writes a file.
//   bench_gpu_kernels [--batch N] [--json FILE]
// A row is a kernel, or a few that belong together, of ResNet-18 on CIFAR-10 with N samples (default 512).
//   GB/s       bytes that must move (each activation, basis and coefficient read or written once) / time
//   of a copy  time of a device-to-device copy that moves as many bytes / time
//   composed   time of the same mathematics as LibTorch's operators / time
// All are replayed as graphs of ten calls, in turn with one another, so that the host's part is left out. A time is the
// median of seven. Data smaller than the caches is served from there, in copies as well. The last row is the rate of a
// bfloat16 matrix product, against which the use of the whole GPU is measured. Random numbers of the composed draws are
// LibTorch's own. The gradient of an added key is the one that comes in, so it has no kernel.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "bench/bench_main.h"
#include "data/assemble_op.h"
#include "dist/cuda_module.h"
#include "spankey/ops/batch_norm_op.h"
#include "spankey/ops/draw_op.h"
#include "spankey/ops/gram.h"
#include "spankey/ops/inject_op.h"

namespace spankey {
namespace {

using Clock = std::chrono::steady_clock;
using Work = std::function<void()>;

constexpr std::int64_t m = 32, channels = 64, side = 32, colours = 3, images = 50000;
constexpr std::int64_t d = channels * side * side;  // of the widest injection point
constexpr std::int64_t product_side = 8192;
constexpr double gamma_of_keys = 0.5, epsilon = batch_norm_epsilon;
constexpr int calls = 10, rounds = 7;

// One row of the table, with two ways to the same numbers. The work holds what it needs beyond its call.
struct Row {
  std::string name, type;
  double bytes = 0;
  Work fused, composed;
};

class Bench {
 public:
  Bench(CudaModule& module, at::Device device) : module_(module), device_(device) {}

  at::TensorOptions options(at::ScalarType type) const { return at::TensorOptions(device_).dtype(type); }
  at::Device device() const { return device_; }

  // Returns seconds of one call of each work, measured in turn.
  std::vector<double> seconds(const std::vector<Work>& works) const {
    std::vector<std::unique_ptr<DeviceGraph>> graphs;
    for (const Work& work : works) {
      graphs.push_back(module_.make_graph());
      graphs.back()->use(work);
      module_.synchronize();
      graphs.back()->capture([&] {
        for (int i = 0; i < calls; ++i) work();
      });
      graphs.back()->replay();
    }
    std::vector<std::vector<double>> times(works.size());
    for (int round = 0; round < rounds; ++round) {
      for (std::size_t i = 0; i < graphs.size(); ++i) {
        module_.synchronize();
        const auto begin = Clock::now();
        graphs[i]->replay();
        module_.synchronize();
        times[i].push_back(std::chrono::duration<double>(Clock::now() - begin).count() / calls);
      }
    }
    std::vector<double> medians;
    for (auto& of_work : times) {
      std::nth_element(of_work.begin(), of_work.begin() + rounds / 2, of_work.end());
      medians.push_back(of_work[rounds / 2]);
    }
    return medians;
  }

  // Makes a copy that reads and writes `bytes` together.
  Work copy(double bytes) const {
    const auto half = std::max<std::int64_t>(1, static_cast<std::int64_t>(bytes / 2));
    const at::Tensor from = at::zeros({half}, options(at::kByte)), to = at::empty_like(from);
    return [from, to] { to.copy_(from); };
  }

 private:
  CudaModule& module_;
  at::Device device_;
};

double bytes_of(const std::vector<at::Tensor>& tensors) {
  double sum = 0;
  for (const at::Tensor& t : tensors) sum += static_cast<double>(t.nbytes());
  return sum;
}

std::string name_of(at::ScalarType type) {
  return type == at::kFloat ? "float32" : type == at::kBFloat16 ? "bfloat16" : "";
}

at::Tensor random_image(const Bench& bench, std::int64_t n, at::ScalarType type) {
  return at::randn({n, channels, side, side}, bench.options(type)).contiguous(at::MemoryFormat::ChannelsLast);
}

// Keys of n rows as coefficients, for the fused kernels and for LibTorch's operators.
struct TrialKeys {
  InjectArguments fused;
  at::Tensor alphas, basis;

  TrialKeys(const Bench& bench, std::int64_t n, InjectMode mode)
      : alphas(at::rand({n, m}, bench.options(at::kFloat))),
        basis(at::randn({m, d}, bench.options(at::kFloat)) / std::sqrt(static_cast<double>(m))) {
    fused = {.coefficients = {alphas}, .bases = {basis}, .rows = {n}, .gamma = gamma_of_keys, .mode = mode};
  }

  // `h` is channels_last, and so are the columns of the basis.
  at::Tensor composed(const at::Tensor& h) const {
    const at::Tensor k = alphas.matmul(basis).view({h.size(0), h.size(2), h.size(3), h.size(1)}).permute({0, 3, 1, 2});
    if (fused.mode == InjectMode::add) return h + (gamma_of_keys * k).to(h.scalar_type());
    return h * (1 + gamma_of_keys * k.tanh()).clamp(multiplier_low, multiplier_high).to(h.scalar_type());
  }
};

// Computes the gradients of `of` anew in each call. The forward pass has made its graph once.
Work backward_of(const at::Tensor& out, const std::vector<at::Tensor>& of, const at::Tensor& g) {
  return [=] { torch::autograd::grad({out}, of, {g}, /*retain_graph=*/true); };
}

void add_injection(const Bench& bench, std::int64_t n, at::ScalarType type, std::vector<Row>& rows) {
  for (const auto mode : {InjectMode::add, InjectMode::clamp}) {
    const TrialKeys keys(bench, n, mode);
    const at::Tensor h = random_image(bench, n, type), g = random_image(bench, n, type);
    const double bytes = bytes_of({h, h, keys.alphas, keys.basis});
    const std::string name = mode == InjectMode::add ? "injection add" : "injection mul";
    rows.push_back(
        {name + " forward", name_of(type), bytes, [=] { inject(h, keys.fused); }, [=] { keys.composed(h); }});
    if (mode == InjectMode::add) continue;
    const at::Tensor leaf = h.detach().clone().requires_grad_();
    rows.push_back({name + " backward", name_of(type), bytes, backward_of(inject(leaf, keys.fused), {leaf}, g),
                    backward_of(keys.composed(leaf), {leaf}, g)});
  }
}

// The operators in front of an injection. They are BatchNorm and ReLU, and after a block also the residual.
struct NormTrial {
  std::string name;
  bool residual, keyed;
  std::int64_t groups;
  // Activations read or written by each pass over the data.
  double forward, backward;
};

void add_batch_norm(const Bench& bench, std::int64_t n, at::ScalarType type, const NormTrial& trial,
                    std::vector<Row>& rows) {
  const TrialKeys keys(bench, n, InjectMode::clamp);
  const auto parameter = [&](double value) {
    return at::full({channels}, value, bench.options(at::kFloat)).requires_grad_();
  };
  const at::Tensor x = random_image(bench, n, type).requires_grad_(), g = random_image(bench, n, type);
  const at::Tensor residual = trial.residual ? random_image(bench, n, type).requires_grad_() : at::Tensor();
  const at::Tensor weight = parameter(1.25), bias = parameter(0.25);
  const auto fused = [=] {
    return batch_norm_act(x, weight, bias, residual, trial.groups, /*relu=*/true,
                          trial.keyed ? keys.fused : InjectArguments{})
        .y;
  };
  const auto composed = [=] {
    std::vector<at::Tensor> parts;
    for (const at::Tensor& group : x.chunk(trial.groups))
      parts.push_back(at::batch_norm(group, weight, bias, {}, {}, /*training=*/true, 0.1, epsilon, true));
    at::Tensor y = trial.groups == 1 ? parts[0] : at::cat(parts);
    if (trial.residual) y = y + residual;
    y = y.relu();
    return trial.keyed ? keys.composed(y) : y;
  };
  std::vector<at::Tensor> leaves{x, weight, bias};
  if (trial.residual) leaves.push_back(residual);
  const double activation = bytes_of({x}), of_keys = trial.keyed ? bytes_of({keys.alphas, keys.basis}) : 0;
  const auto without_graph = [](const auto& work) {
    return [=] {
      const at::NoGradGuard no_grad;
      work();
    };
  };
  rows.push_back({trial.name + " forward", name_of(type), trial.forward * activation + of_keys, without_graph(fused),
                  without_graph(composed)});
  rows.push_back({trial.name + " backward", name_of(type), trial.backward * activation + of_keys,
                  backward_of(fused(), leaves, g), backward_of(composed(), leaves, g)});
}

// Gathers, crops, flips and normalises. The composed way leaves out crop and flip.
void add_assembly(const Bench& bench, std::int64_t n, at::ScalarType type, std::vector<Row>& rows) {
  const at::Tensor bytes = at::randint(256, {images, colours, side, side}, bench.options(at::kByte));
  const at::Tensor table = at::randn({colours, 256}, bench.options(at::kFloat));
  const at::Tensor samples = at::randint(images, {n}, bench.options(at::kLong));
  const at::Tensor position = at::zeros({2}, bench.options(at::kLong));
  const at::Tensor mean = at::full({1, colours, 1, 1}, 120.0, bench.options(at::kFloat)), scale = mean / 1e4;
  const auto plan = assembly_plan(bytes.sizes(), 7, static_cast<std::int64_t>(Purpose::augment),
                                  static_cast<std::int64_t>(Augment::crop_flip), 0.0, /*channels_last=*/true);
  const auto pixels = static_cast<double>(n * colours * side * side);
  rows.push_back({"batch assembly", name_of(type), pixels * static_cast<double>(1 + at::elementSize(type)),
                  [=] { assemble(bytes, table, samples, position, plan, type); },
                  [=] {
                    ((bytes.index_select(0, samples).to(at::kFloat) - mean) * scale)
                        .to(type)
                        .contiguous(at::MemoryFormat::ChannelsLast);
                  }});
}

// Brings the coefficients of one layer to a standard deviation, and draws a wrong key.
void add_draws(const Bench& bench, std::int64_t n, std::vector<Row>& rows) {
  const at::Tensor samples = at::arange(n, bench.options(at::kLong));
  const at::Tensor position = at::zeros({2}, bench.options(at::kLong));
  const at::Tensor basis = at::randn({m, d}, bench.options(at::kFloat)) / std::sqrt(static_cast<double>(m));
  const SlotGrams gram = slot_grams({make_gram(basis.cpu())}, bench.device());
  const at::Tensor target = at::full({1}, 0.5, bench.options(at::kDouble));
  const auto options = bench.options(at::kFloat);
  rows.push_back({"alphas drawn and scaled", "float32", bytes_of({samples}) + static_cast<double>(n * m * 4),
                  [=] {
                    const at::Tensor drawn = draw_alphas(samples, position, AlphaLaw::u01, m, 1, 7, Purpose::alpha);
                    scale_alphas(drawn, alpha_std(drawn, gram, /*each=*/false), 0.5, 0, n);
                  },
                  [=] {
                    const at::Tensor drawn = at::rand({n, m}, options);
                    drawn*(0.5 / (drawn.matmul(basis).std() + 1e-8));
                  }});
  rows.push_back({"wrong key drawn and scaled", "float32", static_cast<double>(d * 4),
                  [=] { draw_wrong_keys(position, {d}, target, n, 7, Purpose::wrong_key); },
                  [=] {
                    const at::Tensor drawn = at::randn({1, d}, options);
                    drawn*(0.5 / (drawn.std() + 1e-8));
                  }});
}

// Makes the rows one set after the other, so that only one set's tensors are there at a time.
std::vector<std::function<void(std::vector<Row>&)>> all_rows(const Bench& bench, std::int64_t n) {
  // Passes over the data. The forward pass reads x twice and the residual, and writes y. The backward pass reads g and
  // x. Then it reads the same again, or with a residual or a key what the first pass has stored instead of g, and
  // writes the result.
  const std::vector<NormTrial> trials{{"BatchNorm, ReLU", false, false, 1, 3, 5},
                                      {"BatchNorm, ReLU, 2 groups", false, false, 2, 3, 5},
                                      {"BatchNorm, residual, ReLU", true, false, 1, 4, 7},
                                      {"BatchNorm, ReLU, injection mul", false, true, 1, 3, 6},
                                      {"BatchNorm, residual, ReLU, injection mul", true, true, 1, 4, 7}};
  std::vector<std::function<void(std::vector<Row>&)>> sets;
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    sets.emplace_back([=, &bench](std::vector<Row>& rows) { add_injection(bench, n, type, rows); });
    for (const NormTrial& trial : trials)
      sets.emplace_back([=, &bench](std::vector<Row>& rows) { add_batch_norm(bench, n, type, trial, rows); });
    sets.emplace_back([=, &bench](std::vector<Row>& rows) { add_assembly(bench, n, type, rows); });
  }
  sets.emplace_back([=, &bench](std::vector<Row>& rows) { add_draws(bench, n, rows); });
  return sets;
}

nlohmann::json measure(const Bench& bench, const Row& row) {
  const auto times = bench.seconds({row.fused, bench.copy(row.bytes), row.composed});
  const double fused = times[0], copy = times[1], composed = times[2];
  nlohmann::json figures{{"name", row.name},
                         {"type", row.type},
                         {"bytes", row.bytes},
                         {"microseconds", 1e6 * fused},
                         {"gb_per_s", 1e-9 * row.bytes / fused},
                         {"copy_gb_per_s", 1e-9 * row.bytes / copy},
                         {"of_copy", copy / fused},
                         {"composed_microseconds", 1e6 * composed},
                         {"composed_over_fused", composed / fused}};
  fmt::print("| {} | {} | {:.1f} | {:.1f} | {:.0f} | {:.2f} | {:.2f} |\n", row.name, row.type, 1e-6 * row.bytes,
             1e6 * fused, 1e-9 * row.bytes / fused, copy / fused, composed / fused);
  return figures;
}

double matrix_product_teraflops(const Bench& bench) {
  const auto square = [&] { return at::randn({product_side, product_side}, bench.options(at::kBFloat16)); };
  const at::Tensor a = square(), b = square(), c = square();
  const auto times = bench.seconds({[=] {
    at::Tensor out = c;
    at::mm_out(out, a, b);
  }});
  return 2e-12 * static_cast<double>(product_side) * product_side * product_side / times[0];
}

void run(std::int64_t batch, const std::string& file) {
  std::string why_not;
  auto* module = open_cuda_module(why_not);
  if (!module) fail_input("a GPU is needed: {}", why_not);
  const auto gpu = module->devices().at(0);
  module->use_device(0);
  const Bench bench(*module, at::Device(at::kCUDA, 0));
  fmt::print("{}, {}, batch {}\n\n", gpu.name, module->version(), batch);
  fmt::print("| kernel | type | MB | us | GB/s | of a copy | composed / fused |\n");
  fmt::print("| --- | --- | ---: | ---: | ---: | ---: | ---: |\n");
  nlohmann::json report{{"gpu", gpu.name}, {"version", module->version()}, {"batch", batch}, {"kernels", {}}};
  int failed = 0;
  for (const auto& make : all_rows(bench, batch)) {
    std::vector<Row> rows;
    make(rows);
    for (const Row& row : rows) {
      try {
        report["kernels"].push_back(measure(bench, row));
      } catch (const c10::Error& error) {  // the others go on
        fmt::print("| {} | {} | failed: {} |\n", row.name, row.type, error.what_without_backtrace());
        ++failed;
      }
    }
  }
  report["bf16_tflops"] = matrix_product_teraflops(bench);
  fmt::print("\nbfloat16 matrix product of {0} x {0}: {1:.0f} TFLOP/s\n", product_side,
             report["bf16_tflops"].get<double>());
  if (!file.empty()) {
    std::ofstream out(file);
    out << report.dump(2) << '\n';
    if (!out.flush()) fail_run("--json {}: cannot be written", file);
  }
  if (failed) fail_run("{} rows of the table failed", failed);
}

std::int64_t batch_of(std::string_view word) {
  std::int64_t batch = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), batch);
  if (error != std::errc() || end != word.data() + word.size() || batch < 2 || batch % 2 != 0)
    fail_input("--batch {}: an even number from 2 on is accepted", word);
  return batch;
}

void run(const std::vector<std::string>& words) {
  std::int64_t batch = 512;
  std::string file;
  for (std::size_t i = 0; i < words.size(); i += 2) {
    if ((words[i] != "--json" && words[i] != "--batch") || i + 1 == words.size())
      fail_input("{}: accepted: [--batch N] [--json FILE]", words[i]);
    words[i] == "--json" ? void(file = words[i + 1]) : void(batch = batch_of(words[i + 1]));
  }
  run(batch, file);
}

}  // namespace
}  // namespace spankey

int main(int argc, char** argv) {
  return spankey::exit_code_of("bench_gpu_kernels", [&] { spankey::run({argv + 1, argv + argc}); });
}
