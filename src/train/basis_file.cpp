#include "train/basis_file.h"

#include <fmt/ranges.h>

#include "base/error.h"
#include "base/file.h"
#include "base/hdf5_file.h"
#include "base/sealed_file.h"
#include "base/secret.h"

namespace spankey {

void save_basis(const Basis& basis, const std::filesystem::path& path) {
  auto file = h5::File::create();
  file.set_attribute("/", "kind", std::string("spankey basis"));
  file.set_attribute("/", "digest", to_hex(basis_digest(basis)));
  file.set_attribute("/", "layers", static_cast<std::int64_t>(basis.layers.size()));
  for (std::size_t i = 0; i < basis.layers.size(); ++i) {
    const auto layer = basis.layers[i].contiguous();
    file.write<float>(fmt::format("basis/{}", i), layer.sizes().vec(),
                      {layer.const_data_ptr<float>(), static_cast<std::size_t>(layer.numel())});
  }
  auto image = file.image();
  const WipedAtEnd wiped_image(image);
  std::vector<std::byte> bytes;
  bytes.reserve(image.size() + footer_bytes);  // growing would leave a copy behind
  bytes.assign(image.begin(), image.end());
  append_footer(bytes);
  const WipedAtEnd wiped(bytes);
  write_durably(path, bytes, 0600);
}

Basis load_basis(const std::filesystem::path& path, std::int64_t m, const std::vector<std::int64_t>& dims) {
  auto bytes = read_bytes(path);
  const WipedAtEnd wiped(bytes);
  const auto file = h5::File::from_image(checked_image(bytes, path.string()), path.string());
  if (!file.has_attribute("/", "kind") || file.string_attribute("/", "kind") != "spankey basis")
    fail_input("{}: not a key basis", path.string());
  if (const auto layers = file.int_attribute("/", "layers"); layers != static_cast<std::int64_t>(dims.size()))
    fail_input("{}: holds {} layers, the configuration has {}", path.string(), layers, dims.size());
  Basis basis;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const auto name = fmt::format("basis/{}", i);
    const auto info = file.info(name);
    if (info.type != h5::Type::float32 || info.shape != std::vector<std::int64_t>{m, dims[i]})
      fail_input("{}: data set '{}': expected {} x {} of float32, as the configuration says; found {} of {}",
                 path.string(), name, m, dims[i], fmt::join(info.shape, " x "), h5::to_string(info.type));
    auto layer = secret_matrix(m, dims[i]);
    file.read_raw(name, {static_cast<std::byte*>(layer.mutable_data_ptr()), layer.nbytes()});
    basis.layers.push_back(std::move(layer));
  }
  return basis;
}

}  // namespace spankey
