// The closed sets of the configuration: each enumeration beside the words that stand for it in a file.
// Adding a value is one line here. Words are read in any case and written as they stand here.
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

// h + gamma k, or h * multiplier(gamma, k).
enum class Inject { add, mul };
constexpr auto enum_words(Inject) {
  return std::to_array<std::string_view>({"add", "mul"});
}

enum class Rescale { batch, key, none };
constexpr auto enum_words(Rescale) {
  return std::to_array<std::string_view>({"batch", "key", "none"});
}

enum class AlphaLaw { u01 };
constexpr auto enum_words(AlphaLaw) {
  return std::to_array<std::string_view>({"u01"});
}

enum class BasisLaw { uniform, orthonormal };
constexpr auto enum_words(BasisLaw) {
  return std::to_array<std::string_view>({"uniform", "orthonormal"});
}

enum class Layout { shared_prefix, per_layer };
constexpr auto enum_words(Layout) {
  return std::to_array<std::string_view>({"shared_prefix", "per_layer"});
}

enum class Multiplier { clamp };
constexpr auto enum_words(Multiplier) {
  return std::to_array<std::string_view>({"clamp"});
}

enum class BatchNorm { polluted };
constexpr auto enum_words(BatchNorm) {
  return std::to_array<std::string_view>({"polluted"});
}

// The passes a deny loss may look at: with a wrong key, and without a key.
enum class Pass { wrong, none };
constexpr auto enum_words(Pass) {
  return std::to_array<std::string_view>({"wrong", "none"});
}

enum class Schedule { constant, step, multistep, cosine };
constexpr auto enum_words(Schedule) {
  return std::to_array<std::string_view>({"constant", "step", "multistep", "cosine"});
}

enum class Device { auto_, cpu, cuda };
constexpr auto enum_words(Device) {
  return std::to_array<std::string_view>({"auto", "cpu", "cuda"});
}

enum class Precision { float32 };
constexpr auto enum_words(Precision) {
  return std::to_array<std::string_view>({"float32"});
}

enum class Backend { auto_, self, mpi };
constexpr auto enum_words(Backend) {
  return std::to_array<std::string_view>({"auto", "self", "mpi"});
}

enum class Reduction { fast, elastic };
constexpr auto enum_words(Reduction) {
  return std::to_array<std::string_view>({"fast", "elastic"});
}

enum class Augment { none, affine, crop_flip };
constexpr auto enum_words(Augment) {
  return std::to_array<std::string_view>({"none", "affine", "crop_flip"});
}

enum class Verify { auto_, always, never };
constexpr auto enum_words(Verify) {
  return std::to_array<std::string_view>({"auto", "always", "never"});
}

enum class Twin { none };
constexpr auto enum_words(Twin) {
  return std::to_array<std::string_view>({"none"});
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
