#include "spankey/alpha_law.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/portable_math.h"

namespace spankey {
namespace {

void divide_by(double sum, std::span<float> out) {
  for (float& value : out) value = static_cast<float>(value / sum);
}

// U[-1, 1), exact: multiples of 2^-23.
void fill_u11(const Stream& stream, std::span<float> out) {
  stream.fill_uniform(out);
  for (float& value : out) value = 2.0f * value - 1.0f;
}

// A Gaussian vector has no preferred direction.
void fill_sphere(const Stream& stream, std::span<float> out) {
  stream.fill_normal(out);
  double squares = 0;
  for (const float value : out) squares += static_cast<double>(value) * value;
  if (squares > 0)
    divide_by(std::sqrt(squares), out);
  else
    out[0] = 1.0f;  // the stream's 0 has a probability, be it 2^-31
}

// Dirichlet(1, ..., 1): exponential draws over their sum.
void fill_simplex(const Stream& stream, std::span<float> out) {
  stream.fill_uniform(out);
  double sum = 0;
  for (float& value : out) sum += value = -portable::log(1.0f - value);
  if (sum > 0)
    divide_by(sum, out);
  else
    out[0] = 1.0f;
}

}  // namespace

AlphaDraw::AlphaDraw(AlphaLaw law, std::int64_t m, std::uint64_t key_seed) : law_(law) {
  SPANKEY_CHECK_GE(m, 1);
  if (law != AlphaLaw::codebook) return;
  const auto width = static_cast<std::size_t>(m);
  codebook_.resize(codebook_size * width);
  for (std::size_t word = 0; word < codebook_size; ++word)
    fill_u11(Stream({.seed = key_seed, .purpose = Purpose::codebook, .sample = word}),
             std::span(codebook_).subspan(word * width, width));
}

void AlphaDraw::operator()(const StreamId& id, std::span<float> out) const {
  const Stream stream(id);
  switch (law_) {
    case AlphaLaw::u01:
      return stream.fill_uniform(out);
    case AlphaLaw::u11:
      return fill_u11(stream, out);
    case AlphaLaw::gauss:
      return stream.fill_normal(out);
    case AlphaLaw::sphere:
      return fill_sphere(stream, out);
    case AlphaLaw::simplex:
      return fill_simplex(stream, out);
    case AlphaLaw::codebook: {
      SPANKEY_CHECK_EQ(out.size() * codebook_size, codebook_.size());
      const auto word = stream.below(0, codebook_size);
      std::copy_n(codebook_.begin() + static_cast<std::ptrdiff_t>(word * out.size()), out.size(), out.begin());
      return;
    }
  }
}

}  // namespace spankey
