// Data sets: an HDF5 file (or a built-in set) of images or feature vectors with integer labels.
//
// File, format version 1: groups train/ and test/, each with `images` (N, C, H, W) uint8 or `features` (N, D) float32,
// and `labels` (N) int64; a list of strings `class_names`; root attributes format, format_version, kind ("images" or
// "features"), classes, mean and std (one per channel, of pixel / 255, from the train split), source, digest.
// Images and features are contiguous and are used where they lie in the mapped file: nothing is copied, ranks of a node
// share the pages, and a file may be larger than memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/mapped_file.h"
#include "config/enums.h"

namespace spankey {

struct Split {
  std::int64_t size = 0;
  std::span<const std::uint8_t> images;  // (size, C, H, W), or empty
  std::span<const float> features;       // (size, D), or empty
  std::vector<std::int64_t> labels;      // (size)
};

struct DataInfo {
  std::vector<std::int64_t> sample_shape;  // {C, H, W} or {D}
  std::int64_t classes = 0;
  std::vector<std::string> class_names;
  std::vector<float> mean, std;  // per channel, of pixel / 255; features: {0}, {1}
  std::string source;
  std::string digest;  // hex SHA-256 of all of the above but the source, and of the samples
  std::int64_t sample_size() const;
};

// The samples of a set that is being made, before it has a mean and a digest.
struct SplitContent {
  std::vector<std::uint8_t> images;
  std::vector<float> features;
  std::vector<std::int64_t> labels;
};

struct DatasetContent {
  std::vector<std::int64_t> sample_shape;
  std::vector<std::string> class_names;
  std::string source;
  SplitContent train, test;
};

class Dataset {
 public:
  // A file, or "builtin:glyphs" (4096 train and 1024 test images) or "builtin:argmax". The digest is checked always,
  // never, or (auto) when the samples take at most 1 GiB; so is whether all features are finite. Error(bad_input) names
  // file, offset and what was expected.
  static std::shared_ptr<const Dataset> open(const std::string& file, Verify verify);
  static std::shared_ptr<const Dataset> in_memory(DatasetContent content);
  // What image() gave on another rank, taken at its word. `name` appears in messages.
  static std::shared_ptr<const Dataset> from_image(std::vector<std::byte> image, const std::string& name);

  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;

  const DataInfo& info() const { return info_; }
  const Split& train() const { return train_; }
  const Split& test() const { return test_; }
  bool is_images() const { return info_.sample_shape.size() == 3; }
  // Samples per class, and the accuracy of always naming the commonest one and the rarest one.
  std::vector<std::int64_t> class_counts(const Split& split) const;
  double majority_rate(const Split& split) const;
  double minority_rate(const Split& split) const;

  // Error(run_failed) where the file was written to after it was opened and holds other content than its digest says:
  // what was computed since the last look is of data that nobody knows. Of files too large to be verified any change is
  // one. A file that has only been touched is told, as is one whose path leads elsewhere: the samples are those of
  // before.
  void require_unchanged() const;

  // The first of `samples` that has a value which is not finite; images have none.
  std::optional<std::int64_t> first_not_finite(const Split& split, std::span<const std::int64_t> samples) const;

  // Writes the file durably. It is built in memory first: making a set needs about three times its size.
  void save(const std::filesystem::path& path) const;
  // The bytes of that file.
  std::vector<std::byte> image() const;

 private:
  Dataset() = default;
  void open_file(const std::filesystem::path& path, Verify verify);
  void require_finite(const char* group, const Split& split) const;
  Digest content_digest() const;

  DataInfo info_;
  Split train_, test_;
  std::vector<std::byte> image_;  // of a set that came as one
  std::string path_;              // of a file
  bool verified_ = false;         // its content has been held to its digest
  mutable MappedFile mapping_;
  mutable bool told_replaced_ = false;
  DatasetContent content_;  // of a set in memory
};

}  // namespace spankey
