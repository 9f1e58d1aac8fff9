#include "spankey/keys/alpha_law.h"

#include <algorithm>

#include "base/error.h"
#include "spankey/ops/draw_body.h"

namespace spankey {
namespace {

void fill(AlphaLaw law, const Stream& stream, std::span<float> out) {
  if (law == AlphaLaw::gauss || law == AlphaLaw::sphere)
    stream.fill_normal(out);
  else
    stream.fill_uniform(out);
  draw_body::finish_alpha(law, out.data(), static_cast<std::int64_t>(out.size()));
}

}  // namespace

AlphaDraw::AlphaDraw(AlphaLaw law, std::int64_t m, std::uint64_t key_seed) : law_(law) {
  SPANKEY_CHECK_GE(m, 1);
  if (law != AlphaLaw::codebook) return;
  const auto width = static_cast<std::size_t>(m);
  codebook_.resize(codebook_size * width);
  for (std::size_t word = 0; word < codebook_size; ++word)
    fill(AlphaLaw::u11, Stream({.seed = key_seed, .purpose = Purpose::codebook, .sample = word}),
         std::span(codebook_).subspan(word * width, width));
}

void AlphaDraw::operator()(const StreamId& id, std::span<float> out) const {
  const Stream stream(id);
  if (law_ == AlphaLaw::codebook) {
    SPANKEY_CHECK_EQ(out.size() * codebook_size, codebook_.size());
    const auto word = stream.below(0, codebook_size);
    std::copy_n(codebook_.begin() + static_cast<std::ptrdiff_t>(word * out.size()), out.size(), out.begin());
    return;
  }
  fill(law_, stream, out);
}

}  // namespace spankey
