// Compares the injection of one key per sample by the fused kernel with the same mathematics composed of ATen
// operations. It measures forward alone (the input layer has no gradient) and with the gradient of h. The arguments are
// d and m.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "bench/bench_main.h"
#include "spankey/keys/injection.h"

namespace {

constexpr std::int64_t n = 128;
constexpr double strength = 0.5;

struct Inputs {
  at::Tensor h, alphas, basis, upstream;
  explicit Inputs(const benchmark::State& state)
      : h(at::randn({n, state.range(0)})),
        alphas(at::rand({n, state.range(1)})),
        basis(at::randn({state.range(1), state.range(0)})),
        upstream(at::randn({n, state.range(0)})) {}
};

template <bool backward>
void fused(benchmark::State& state) {
  Inputs in(state);
  const spankey::LayerBasis basis(in.basis);
  in.h.requires_grad_(backward);
  for (auto _ : state) {
    const auto injection = spankey::Injection::of_alphas({0}, {in.alphas}, {basis}, {spankey::Inject::mul, strength});
    const at::Tensor out = injection.apply(0, in.h);
    if (backward) out.backward(in.upstream);
    in.h.mutable_grad().reset();
  }
}

template <bool backward>
void composed(benchmark::State& state) {
  Inputs in(state);
  in.h.requires_grad_(backward);
  for (auto _ : state) {
    const at::Tensor key = in.alphas.matmul(in.basis);
    const at::Tensor out = in.h * at::clamp(1 + strength * at::tanh(key), 0.1, 2.0);
    if (backward) out.backward(in.upstream);
    in.h.mutable_grad().reset();
  }
}

void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgsProduct({{784, 1568, 65536}, {8, 32}})->Unit(benchmark::kMillisecond)->UseRealTime();
}

BENCHMARK(fused<false>)->Apply(sizes);
BENCHMARK(composed<false>)->Apply(sizes);
BENCHMARK(fused<true>)->Apply(sizes);
BENCHMARK(composed<true>)->Apply(sizes);

}  // namespace

int main(int argc, char** argv) {
  spankey::keep_freed_memory();
  const char* threads = std::getenv("SPANKEY_BENCH_THREADS");
  at::set_num_threads(threads ? std::atoi(threads) : 1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
