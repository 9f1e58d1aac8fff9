#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "data/dataset.h"
#include "data/import.h"

namespace spankey {

namespace {

constexpr std::int64_t classes = 10;

struct Source {
  std::string name;
  std::vector<std::uint8_t> bytes;
};

// Finds the plain or the compressed file. zlib reads both.
Source read_maybe_gz(const std::filesystem::path& path) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (file == nullptr) fail_system(errno, "cannot read {}", path.string());
  Source source{path.string(), {}};
  constexpr std::size_t piece = std::size_t{1} << 20;
  for (;;) {
    const std::size_t before = source.bytes.size();
    source.bytes.resize(before + piece);
    const int count = gzread(file.get(), source.bytes.data() + before, piece);
    source.bytes.resize(before + static_cast<std::size_t>(std::max(count, 0)));
    if (count > 0) continue;
    int error = Z_OK;
    const char* message = gzerror(file.get(), &error);
    if (error == Z_ERRNO) fail_system(errno, "cannot read {}", path.string());
    if (error != Z_OK) {
      fail_input("{}: offset {}: expected intact gzip data: {}", source.name, source.bytes.size(), message);
    }
    return source;
  }
}

Source read_idx(const std::filesystem::path& folder, const std::string& stem, const std::string& kind) {
  for (const char* separator : {"-", "."}) {
    for (const char* compression : {"", ".gz"}) {
      const auto path = folder / (stem + separator + kind + compression);
      if (std::filesystem::exists(path)) return read_maybe_gz(path);
    }
  }
  fail_input("{}: expected a file {}-{} or {}-{}.gz", folder.string(), stem, kind, stem, kind);
}

std::uint32_t word(const Source& source, std::size_t offset) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | source.bytes[offset + i];
  return value;
}

// Checks magic and size, returns the dimensions and reduces `source` to the values. Value i was at `offset` + i.
std::vector<std::int64_t> strip_header(Source& source, std::size_t dimensions) {
  const std::size_t header = 4 + 4 * dimensions;
  const auto magic = static_cast<std::uint32_t>(0x0800 + dimensions);
  if (source.bytes.size() >= 4 && word(source, 0) != magic) {
    fail_input("{}: offset 0: expected the IDX magic number {:#010x} (unsigned bytes, {} dimensions), found {:#010x}",
               source.name, magic, dimensions, word(source, 0));
  }
  if (source.bytes.size() < header) {
    fail_input("{}: offset {}: expected an IDX header of {} bytes, the file ends here", source.name,
               source.bytes.size(), header);
  }
  std::vector<std::int64_t> shape;
  std::uint64_t expected = 1;
  bool overflow = false;
  for (std::size_t i = 0; i < dimensions; ++i) {
    shape.push_back(word(source, 4 + 4 * i));
    if (shape.back() == 0) fail_input("{}: offset {}: expected a size above 0", source.name, 4 + 4 * i);
    overflow |= __builtin_mul_overflow(expected, static_cast<std::uint64_t>(shape.back()), &expected);
  }
  const std::uint64_t found = source.bytes.size() - header;
  if (overflow || found != expected) {
    fail_input("{}: offset {}: expected {} bytes of values ({}), found {}", source.name, header, expected,
               fmt::join(shape, " x "), found);
  }
  source.bytes.erase(source.bytes.begin(), source.bytes.begin() + static_cast<std::ptrdiff_t>(header));
  return shape;
}

SplitContent read_split(const std::filesystem::path& folder, const std::string& stem,
                        std::vector<std::int64_t>& sample_shape) {
  Source images = read_idx(folder, stem + "-images", "idx3-ubyte");
  Source labels = read_idx(folder, stem + "-labels", "idx1-ubyte");
  const auto shape = strip_header(images, 3);
  const auto count = strip_header(labels, 1).front();
  if (count != shape[0]) {
    fail_input("{}: offset 4: expected {} labels, one per image of {}, found {}", labels.name, shape[0], images.name,
               count);
  }
  const std::vector<std::int64_t> found = {1, shape[1], shape[2]};
  if (!sample_shape.empty() && found != sample_shape) {
    fail_input("{}: offset 8: expected images of {} x {} as in the train files, found {} x {}", images.name,
               sample_shape[1], sample_shape[2], shape[1], shape[2]);
  }
  sample_shape = found;
  constexpr std::size_t label_header = 8;
  for (std::size_t i = 0; i < labels.bytes.size(); ++i) {
    if (labels.bytes[i] >= classes) {
      fail_input("{}: offset {}: expected a label from 0 to {}, found {}", labels.name, label_header + i, classes - 1,
                 labels.bytes[i]);
    }
  }
  return {std::move(images.bytes), {}, {labels.bytes.begin(), labels.bytes.end()}};
}

}  // namespace

void import_mnist(const std::filesystem::path& folder, const std::filesystem::path& out) {
  DatasetContent content;
  content.train = read_split(folder, "train", content.sample_shape);
  content.test = read_split(folder, "t10k", content.sample_shape);
  for (std::int64_t c = 0; c < classes; ++c) content.class_names.push_back(std::to_string(c));
  content.source = "IDX files (MNIST's format)";
  Dataset::in_memory(std::move(content))->save(out);
}

}  // namespace spankey
