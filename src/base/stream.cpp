#include "base/stream.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/philox.h"
#include "base/portable_math.h"

namespace spankey {

namespace {

std::uint64_t join(std::uint32_t first, std::uint32_t second) {
  return static_cast<std::uint64_t>(first) << 32 | second;
}

double to_uniform_double(std::uint32_t first, std::uint32_t second) {
  return static_cast<double>(join(first, second) >> 11) * 0x1p-53;
}

std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(static_cast<Wide>(a) * b >> 64);
}

constexpr std::uint64_t most_words = std::uint64_t{1} << 34;  // 2^32 blocks

}  // namespace

Stream::Stream(const StreamId& id) : step_(id.step), sample_(id.sample) {
  const philox::Key key = philox::stream_key(id.seed, static_cast<std::uint32_t>(id.purpose), id.epoch, id.layer);
  key_ = {key.first, key.second};
}

std::array<std::uint32_t, 4> Stream::block(std::uint32_t j) const {
  const philox::Words words = philox::block({key_[0], key_[1]}, j, step_, sample_);
  return {words.v[0], words.v[1], words.v[2], words.v[3]};
}

std::uint32_t Stream::word(std::uint64_t index) const {
  SPANKEY_CHECK_LT(index, most_words);
  return block(static_cast<std::uint32_t>(index / 4))[index % 4];
}

float Stream::uniform(std::uint64_t index) const {
  return philox::uniform(word(index));
}

double Stream::uniform_double(std::uint64_t index) const {
  SPANKEY_CHECK_LT(index, most_words / 2);
  const auto words = block(static_cast<std::uint32_t>(index / 2));
  const std::size_t i = 2 * (index % 2);
  return to_uniform_double(words[i], words[i + 1]);
}

float Stream::normal(std::uint64_t index) const {
  SPANKEY_CHECK_LT(index, most_words);
  const auto words = block(static_cast<std::uint32_t>(index / 4));
  const std::size_t i = index % 4 & ~std::size_t{1};
  float even, odd;
  portable::normal_pair(words[i], words[i + 1], even, odd);
  return index % 2 == 0 ? even : odd;
}

std::uint64_t Stream::below(std::uint64_t index, std::uint64_t bound) const {
  SPANKEY_CHECK_LT(index, most_words / 2);
  SPANKEY_CHECK_NE(bound, std::uint64_t{0});
  const auto words = block(static_cast<std::uint32_t>(index / 2));
  const std::size_t i = 2 * (index % 2);
  return multiply_high(join(words[i], words[i + 1]), bound);
}

void Stream::fill_uniform(std::span<float> out) const {
  SPANKEY_CHECK_LE(out.size(), most_words);
  for (std::size_t begin = 0; begin < out.size(); begin += 4) {
    const auto words = block(static_cast<std::uint32_t>(begin / 4));
    const std::size_t count = std::min<std::size_t>(4, out.size() - begin);
    for (std::size_t i = 0; i < count; ++i) out[begin + i] = philox::uniform(words[i]);
  }
}

void Stream::fill_uniform(std::span<double> out) const {
  SPANKEY_CHECK_LE(out.size(), most_words / 2);
  for (std::size_t begin = 0; begin < out.size(); begin += 2) {
    const auto words = block(static_cast<std::uint32_t>(begin / 2));
    out[begin] = to_uniform_double(words[0], words[1]);
    if (begin + 1 < out.size()) out[begin + 1] = to_uniform_double(words[2], words[3]);
  }
}

void Stream::fill_normal(std::span<float> out) const {
  SPANKEY_CHECK_LE(out.size(), most_words);
  // The words are made first, so that the loop with the arithmetic vectorises.
  constexpr std::size_t pairs = 128;
  std::array<std::uint32_t, pairs> word1, word2;
  std::array<float, pairs> even, odd;
  for (std::size_t begin = 0; begin < out.size(); begin += 2 * pairs) {
    const std::size_t count = std::min(2 * pairs, out.size() - begin);
    for (std::size_t i = 0; i < count; i += 4) {
      const auto words = block(static_cast<std::uint32_t>((begin + i) / 4));
      word1[i / 2] = words[0];
      word2[i / 2] = words[1];
      word1[i / 2 + 1] = words[2];
      word2[i / 2 + 1] = words[3];
    }
    for (std::size_t i = 0; i < (count + 1) / 2; ++i) portable::normal_pair(word1[i], word2[i], even[i], odd[i]);
    for (std::size_t i = 0; i < count; ++i) out[begin + i] = i % 2 == 0 ? even[i / 2] : odd[i / 2];
  }
}

std::vector<std::int64_t> permutation(const StreamId& id, std::int64_t n) {
  SPANKEY_CHECK_GE(n, 0);
  const Stream stream(id);
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[stream.below(order.size() - i, i)]);
  return order;
}

}  // namespace spankey
