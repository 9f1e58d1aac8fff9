// The closed sets of the configuration. Each enumeration stands beside the words that mean it in a file. A new value is
// one new word here. Words are read in any case and written as they stand here.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

namespace spankey {

enum class Compat { honest, reference };
constexpr auto enum_words(Compat) {
  return std::to_array<std::string_view>({"honest", "reference"});
}

// Keys are added, h + gamma k, or multiplied in, h * multiplier(gamma, k).
enum class Inject { add, mul };
constexpr auto enum_words(Inject) {
  return std::to_array<std::string_view>({"add", "mul"});
}

enum class Rescale { batch, key, none };
constexpr auto enum_words(Rescale) {
  return std::to_array<std::string_view>({"batch", "key", "none"});
}

// The laws of alpha are, in this order, U[0,1)^m, U[-1,1)^m, N(0,1)^m, uniform on the unit sphere, Dirichlet(1, ...,
// 1), and uniform over 64 fixed draws of u11.
enum class AlphaLaw { u01, u11, gauss, sphere, simplex, codebook };
constexpr auto enum_words(AlphaLaw) {
  return std::to_array<std::string_view>({"u01", "u11", "gauss", "sphere", "simplex", "codebook"});
}

// The rows of the basis are uniform draws, orthonormal, or share one secret sign in each column (cone).
enum class BasisLaw { uniform, orthonormal, cone };
constexpr auto enum_words(BasisLaw) {
  return std::to_array<std::string_view>({"uniform", "orthonormal", "cone"});
}

// The columns that a layer uses are the first d_l of one basis, all of its own basis, or its own block of one basis of
// width sum d_l.
enum class Layout { shared_prefix, per_layer, shared_blocks };
constexpr auto enum_words(Layout) {
  return std::to_array<std::string_view>({"shared_prefix", "per_layer", "shared_blocks"});
}

// The multipliers are clamp(1 + gamma tanh k, 0.1, 2), exp(gamma tanh k), 1 + min(gamma, 0.9) tanh k, and tanh(5 k).
enum class Multiplier { clamp, exp, sym, sign };
constexpr auto enum_words(Multiplier) {
  return std::to_array<std::string_view>({"clamp", "exp", "sym", "sign"});
}

// Which passes update the running statistics. `polluted` lets all passes, `freeze_deny` only the correct pass. `split`
// gives deny passes a set of their own. `recalibrate_ok` lets all, and computes them anew from correct-key batches
// after training.
enum class BatchNorm { polluted, freeze_deny, split, recalibrate_ok };
constexpr auto enum_words(BatchNorm) {
  return std::to_array<std::string_view>({"polluted", "freeze_deny", "split", "recalibrate_ok"});
}

// The passes that a deny loss may look at, with a wrong key and without a key.
enum class Pass { wrong, none };
constexpr auto enum_words(Pass) {
  return std::to_array<std::string_view>({"wrong", "none"});
}

// The rate falls once an epoch, but under `linear` with every step.
enum class Schedule { constant, step, multistep, cosine, linear };
constexpr auto enum_words(Schedule) {
  return std::to_array<std::string_view>({"constant", "step", "multistep", "cosine", "linear"});
}

// Whether a larger or a smaller figure is the better one.
enum class Goal { max, min };
constexpr auto enum_words(Goal) {
  return std::to_array<std::string_view>({"max", "min"});
}

enum class Device { auto_, cpu, cuda };
constexpr auto enum_words(Device) {
  return std::to_array<std::string_view>({"auto", "cpu", "cuda"});
}

enum class Capture { auto_, on, off };
constexpr auto enum_words(Capture) {
  return std::to_array<std::string_view>({"auto", "on", "off"});
}

enum class Precision { float32, bf16 };
constexpr auto enum_words(Precision) {
  return std::to_array<std::string_view>({"float32", "bf16"});
}

enum class Backend { auto_, self, mpi, nccl };
constexpr auto enum_words(Backend) {
  return std::to_array<std::string_view>({"auto", "self", "mpi", "nccl"});
}

enum class Reduction { fast, elastic };
constexpr auto enum_words(Reduction) {
  return std::to_array<std::string_view>({"fast", "elastic"});
}

// Whether gradients are sent while backward still runs. `auto` does so where it was measured to be faster.
enum class Overlap { auto_, on, off };
constexpr auto enum_words(Overlap) {
  return std::to_array<std::string_view>({"auto", "on", "off"});
}

enum class Augment { none, affine, crop_flip };
constexpr auto enum_words(Augment) {
  return std::to_array<std::string_view>({"none", "affine", "crop_flip"});
}

enum class Verify { auto_, always, never };
constexpr auto enum_words(Verify) {
  return std::to_array<std::string_view>({"auto", "always", "never"});
}

// A network to compare with. `vanilla` has neither injection nor deny loss. `noise` takes a fresh Gaussian key for
// every sample in place of the valid one. `fixed_key` takes one valid key for all samples and steps.
enum class Twin { none, vanilla, noise, fixed_key };
constexpr auto enum_words(Twin) {
  return std::to_array<std::string_view>({"none", "vanilla", "noise", "fixed_key"});
}

template <class E>
concept ConfigEnum = std::is_enum_v<E> && requires(E value) {
  enum_words(value);
};

// The word that stands for `value` in a configuration file.
template <ConfigEnum E>
std::string to_string(E value) {
  constexpr auto words = enum_words(E{});
  return std::string(words.at(static_cast<std::size_t>(value)));
}

}  // namespace spankey
