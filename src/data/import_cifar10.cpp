#include <array>
#include <string>

#include "base/error.h"
#include "base/mapped_file.h"
#include "data/dataset.h"
#include "data/import.h"

namespace spankey {

namespace {

constexpr std::size_t image_bytes = 3 * 32 * 32, record_bytes = 1 + image_bytes;
constexpr std::array class_names = {"airplane", "automobile", "bird",  "cat",  "deer",
                                    "dog",      "frog",       "horse", "ship", "truck"};

void append_batch(const std::filesystem::path& path, SplitContent& split) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  const std::size_t rest = bytes.size() % record_bytes;
  if (bytes.empty() || rest != 0) {
    fail_input("{}: offset {}: expected a record of {} bytes (label, 3 x 32 x 32 pixels), found {} bytes",
               path.string(), bytes.size() - rest, record_bytes, rest);
  }
  for (std::size_t at = 0; at < bytes.size(); at += record_bytes) {
    const auto label = std::to_integer<std::uint8_t>(bytes[at]);
    if (label >= class_names.size()) {
      fail_input("{}: offset {}: expected a label from 0 to {}, found {}", path.string(), at, class_names.size() - 1,
                 label);
    }
    split.labels.push_back(label);
    const auto* pixels = reinterpret_cast<const std::uint8_t*>(bytes.data() + at + 1);
    split.images.insert(split.images.end(), pixels, pixels + image_bytes);
  }
}

}  // namespace

void import_cifar10(const std::filesystem::path& folder, const std::filesystem::path& out) {
  const auto inner = folder / "cifar-10-batches-bin";
  const auto& from = std::filesystem::exists(inner) ? inner : folder;
  DatasetContent content;
  content.sample_shape = {3, 32, 32};
  content.class_names.assign(class_names.begin(), class_names.end());
  content.source = "CIFAR-10 binary batches";
  for (int i = 1; i <= 5; ++i) append_batch(from / fmt::format("data_batch_{}.bin", i), content.train);
  append_batch(from / "test_batch.bin", content.test);
  Dataset::in_memory(std::move(content))->save(out);
}

}  // namespace spankey
