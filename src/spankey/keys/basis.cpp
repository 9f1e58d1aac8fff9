#include "spankey/keys/basis.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <mutex>
#include <new>
#include <numeric>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/secret.h"
#include "base/stream.h"

namespace spankey {
namespace {

// Row j of the basis has a stream of its own, so that a wider basis begins with the columns of a narrower one.
Stream row_stream(std::uint64_t seed, std::int64_t row, std::uint32_t slot) {
  return Stream({.seed = seed, .purpose = Purpose::basis, .sample = static_cast<std::uint64_t>(row), .layer = slot});
}

at::Tensor draw_uniform(std::int64_t m, std::int64_t d, std::uint64_t seed, std::uint32_t slot) {
  at::Tensor basis = secret_matrix(m, d);
  const double bound = 1.0 / std::sqrt(static_cast<double>(m));
  for (std::int64_t j = 0; j < m; ++j) {
    const std::span row(basis.mutable_data_ptr<float>() + j * d, static_cast<std::size_t>(d));
    row_stream(seed, j, slot).fill_uniform(row);
    for (float& value : row) value = static_cast<float>((2.0 * static_cast<double>(value) - 1.0) * bound);
  }
  return basis;
}

at::Tensor draw_orthonormal(std::int64_t m, std::int64_t d, std::uint64_t seed, std::uint32_t slot) {
  if (m > d)
    fail_input("key.m = {}: an orthonormal basis needs a key layer at least that wide; this one has {} elements", m, d);
  at::Tensor gauss = secret_matrix(m, d);
  for (std::int64_t j = 0; j < m; ++j)
    row_stream(seed, j, slot).fill_normal({gauss.mutable_data_ptr<float>() + j * d, static_cast<std::size_t>(d)});
  return secret_copy(orthonormal_rows(secret_copy(gauss, at::kDouble)), at::kFloat);
}

// A column is negative where the highest bit of its word is set.
at::Tensor draw_cone(std::int64_t m, std::int64_t d, std::uint64_t seed, std::uint32_t slot) {
  const Stream signs({.seed = seed, .purpose = Purpose::basis_sign, .layer = slot});
  at::Tensor basis = secret_matrix(m, d);
  const double scale = 1.0 / std::sqrt(static_cast<double>(m));
  for (std::int64_t j = 0; j < m; ++j) {
    float* row = basis.mutable_data_ptr<float>() + j * d;
    row_stream(seed, j, slot).fill_normal({row, static_cast<std::size_t>(d)});
    for (std::int64_t c = 0; c < d; ++c) {
      const auto size = static_cast<float>(static_cast<double>(std::max(std::abs(row[c]), cone_floor)) * scale);
      row[c] = (signs.word(static_cast<std::uint64_t>(c)) >> 31) != 0 ? -size : size;
    }
  }
  return basis;
}

at::Tensor draw(const KeyConfig& config, std::int64_t d, std::uint64_t seed, std::uint32_t slot) {
  switch (config.basis) {
    case BasisLaw::orthonormal:
      return draw_orthonormal(config.m, d, seed, slot);
    case BasisLaw::cone:
      return draw_cone(config.m, d, seed, slot);
    default:
      return draw_uniform(config.m, d, seed, slot);
  }
}

double dot(const double* a, const double* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

Basis make_basis(const KeyConfig& config, const std::vector<std::int64_t>& dims, std::uint64_t seed) {
  SPANKEY_CHECK(!dims.empty());
  Basis basis;
  if (config.layout == Layout::per_layer) {
    for (std::size_t i = 0; i < dims.size(); ++i)
      basis.layers.push_back(draw(config, dims[i], seed, static_cast<std::uint32_t>(i)));
    return basis;
  }
  const bool blocks = config.layout == Layout::shared_blocks;
  const std::int64_t width =
      blocks ? std::accumulate(dims.begin(), dims.end(), std::int64_t{0}) : *std::max_element(dims.begin(), dims.end());
  const at::Tensor shared = draw(config, width, seed, 0);
  std::int64_t begin = 0;
  for (const std::int64_t d : dims) {
    basis.layers.push_back(secret_copy(shared.narrow(1, begin, d), at::kFloat));
    if (blocks) begin += d;
  }
  return basis;
}

Basis unknown_basis(std::int64_t m, const std::vector<std::int64_t>& dims) {
  Basis basis{.layers = {}, .known = false};
  for (const std::int64_t d : dims) basis.layers.push_back(at::zeros({m, d}, at::kFloat));
  return basis;
}

std::uint64_t key_seed(const KeyConfig& config, std::uint64_t run_seed) {
  return config.seed != 0 ? static_cast<std::uint64_t>(config.seed) : run_seed;
}

at::Tensor secret_matrix(std::int64_t m, std::int64_t d, at::ScalarType type) {
  constexpr std::align_val_t alignment{64};  // as LibTorch aligns its own
  const auto bytes = static_cast<std::size_t>(m * d) * at::elementSize(type);
  const auto release = [bytes](void* values) {
    wipe({static_cast<std::byte*>(values), bytes});
    ::operator delete(values, alignment);
  };
  return at::from_blob(::operator new(bytes, alignment), {m, d}, release, at::TensorOptions().dtype(type));
}

at::Tensor secret_copy(const at::Tensor& matrix, at::ScalarType type) {
  SPANKEY_CHECK_EQ(matrix.dim(), 2);
  return secret_matrix(matrix.size(0), matrix.size(1), type).copy_(matrix);
}

Digest basis_digest(const Basis& basis) {
  Sha256 hash;
  hash.update_int64(static_cast<std::int64_t>(basis.layers.size()));
  for (const at::Tensor& layer : basis.layers) {
    const at::Tensor values = layer.to(at::kCPU, at::kFloat).contiguous();
    hash.update_int64(values.size(0)).update_int64(values.size(1));
    hash.update({reinterpret_cast<const std::byte*>(values.const_data_ptr<float>()),
                 static_cast<std::size_t>(values.numel()) * sizeof(float)});
  }
  return hash.finish();
}

// Gram-Schmidt, each row orthogonalised twice (which is enough: Giraud et al. 2005), in plain loops rather than
// LAPACK's QR, whose signs and last bits depend on the library.
at::Tensor orthonormal_rows(const at::Tensor& matrix) {
  SPANKEY_CHECK(matrix.scalar_type() == at::kDouble);
  at::Tensor rows = secret_copy(matrix, at::kDouble);
  const std::int64_t m = rows.size(0), d = rows.size(1);
  SPANKEY_CHECK_LE(m, d);
  for (std::int64_t j = 0; j < m; ++j) {
    double* row = rows.mutable_data_ptr<double>() + j * d;
    for (int pass = 0; pass < 2; ++pass) {
      for (std::int64_t i = 0; i < j; ++i) {
        const double* other = rows.const_data_ptr<double>() + i * d;
        const double share = dot(row, other, d);
        for (std::int64_t c = 0; c < d; ++c) row[c] -= share * other[c];
      }
    }
    const double norm = std::sqrt(dot(row, row, d));
    for (std::int64_t c = 0; c < d; ++c) row[c] /= norm;
  }
  return rows;
}

struct LayerBasis::Copies {
  struct Copy {
    at::ScalarType type;
    at::Device device;
    bool channels_last;
    std::int64_t channels;
    at::Tensor basis;
  };
  at::Tensor flat;
  std::mutex mutex;
  std::vector<Copy> copies;
};

LayerBasis::LayerBasis(const at::Tensor& basis) : copies_(std::make_shared<Copies>()) {
  SPANKEY_CHECK_EQ(basis.dim(), 2);
  copies_->flat = basis.contiguous();
}

const at::Tensor& LayerBasis::flat() const {
  return copies_->flat;
}

at::Tensor LayerBasis::matching(const at::Tensor& h) const {
  const bool channels_last = is_channels_last(h);
  const auto options = h.scalar_type() == at::kBFloat16 ? h.options().dtype(at::kFloat) : h.options();
  if (!channels_last && copies_->flat.dtype() == options.dtype() && copies_->flat.device() == options.device())
    return copies_->flat;
  const std::int64_t channels = channels_last ? h.size(1) : 0;
  const std::lock_guard lock(copies_->mutex);
  for (const auto& copy : copies_->copies)
    if (copy.type == c10::typeMetaToScalarType(options.dtype()) && copy.device == h.device() &&
        copy.channels_last == channels_last && copy.channels == channels)
      return copy.basis;
  const at::Tensor made = in_memory_order(copies_->flat, h).to(options).contiguous();
  copies_->copies.push_back({made.scalar_type(), h.device(), channels_last, channels, made});
  return made;
}

bool is_channels_last(const at::Tensor& h) {
  return h.dim() == 4 && !h.is_contiguous() && h.is_contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor in_memory_order(const at::Tensor& rows, const at::Tensor& h) {
  if (!is_channels_last(h)) return rows;
  return rows.view({rows.size(0), h.size(1), h.size(2), h.size(3)}).permute({0, 2, 3, 1}).reshape({rows.size(0), -1});
}

}  // namespace spankey
