// Counter-based random streams without any state.
//
// Every random number of a run is a pure function of (seed, purpose, epoch, step, sample, layer, index), so that the
// order of work, the number of ranks and interruptions cannot change it. The generator is Philox4x32-10 (Salmon et al.,
// SC'11) from Random123.
//
// The key of a stream is the first two words of philox4x32(counter = {purpose, layer, epoch, 0}, key = seed). Block j
// of the stream is philox4x32(counter = {j, step, sample low, sample high}, key).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace spankey {

// Each use of random numbers has its own value. The numbers are part of the format of a run and are never reused.
enum class Purpose : std::uint32_t {
  test = 0,
  sample_order = 1,
  augment = 2,
  basis = 3,
  alpha = 4,
  wrong_key = 5,
  init = 6,
  dropout = 7,
  eval_alpha = 8,
  eval_wrong_key = 9,
  glyphs = 10,
  argmax_data = 11,
  codebook = 12,
  sweep = 13,
  attack = 14,
  diagnose = 15,
  eval_augment = 16,
  noise_key = 17,
  key_family = 18,
  eval_key_family = 19,
  deny_label = 20,
  fingerprint = 21,
  retired_alpha = 22,
  basis_sign = 30,
  key_permutation = 31,
};

struct StreamId {
  std::uint64_t seed = 0;
  Purpose purpose = Purpose::test;
  std::uint32_t epoch = 0;
  std::uint32_t step = 0;    // step within the epoch
  std::uint64_t sample = 0;  // index in the data set
  std::uint32_t layer = 0;
};

class Stream {
 public:
  explicit Stream(const StreamId& id);

  // Words 4j .. 4j+3 of the stream.
  std::array<std::uint32_t, 4> block(std::uint32_t j) const;

  // Draw number `index` of each kind. All kinds read the same words, so use one kind per stream.
  std::uint32_t word(std::uint64_t index) const;
  float uniform(std::uint64_t index) const;                             // [0, 1), multiples of 2^-24
  double uniform_double(std::uint64_t index) const;                     // [0, 1), multiples of 2^-53
  float normal(std::uint64_t index) const;                              // N(0, 1), Box-Muller, see portable_math.h
  std::uint64_t below(std::uint64_t index, std::uint64_t bound) const;  // 0 .. bound-1 with a bias below bound / 2^64

  // Fills `out` with draws 0 .. out.size()-1, equal bit for bit to the single draws.
  void fill_uniform(std::span<float> out) const;
  void fill_uniform(std::span<double> out) const;
  void fill_normal(std::span<float> out) const;

 private:
  std::array<std::uint32_t, 2> key_;
  std::uint32_t step_;
  std::uint64_t sample_;
};

// A uniformly random order of 0 .. n-1 (Fisher-Yates over `below`).
std::vector<std::int64_t> permutation(const StreamId& id, std::int64_t n);

}  // namespace spankey
