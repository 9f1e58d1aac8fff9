// A data set is an HDF5 file (or a built-in set) of images or feature vectors with integer labels.
//
// The file has format version 1. Its groups train/ and test/ each have `images` (N, C, H, W) uint8 or `features` (N, D)
// float32, and `labels` (N) int64. It has a list of strings `class_names`, and the root attributes format,
// format_version, kind ("images" or "features"), classes, mean and std (one per channel, of pixel / 255, from the train
// split), source, digest. Images and features are contiguous and are used directly in the mapped file. Nothing is
// copied, ranks of a node share the pages, and a file may be larger than memory.
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
  std::vector<float> mean, std;  // per channel, of pixel / 255 ({0} and {1} for features)
  std::string source;
  std::string digest;  // hex SHA-256 of all of the above but the source, and of the samples
  std::int64_t sample_size() const;
};

// The samples of a set that is being made and has no mean and no digest yet.
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
  // Opens a file, or "builtin:glyphs" (4096 train and 1024 test images), or "builtin:argmax". The digest, and whether
  // all features are finite, are checked always, never, or (auto) when the samples take at most 1 GiB. Error(bad_input)
  // names the file, the offset and what was expected.
  static std::shared_ptr<const Dataset> open(const std::string& file, Verify verify);
  static std::shared_ptr<const Dataset> in_memory(DatasetContent content);
  // Takes what image() returned on another rank, without checking it again. `name` appears in messages.
  static std::shared_ptr<const Dataset> from_image(std::vector<std::byte> image, const std::string& name);

  Dataset(const Dataset&) = delete;
  Dataset& operator=(const Dataset&) = delete;

  const DataInfo& info() const { return info_; }
  const Split& train() const { return train_; }
  const Split& test() const { return test_; }
  bool is_images() const { return info_.sample_shape.size() == 3; }
  // Samples per class, and the accuracy of always answering the commonest class and of always answering the rarest
  // class.
  std::vector<std::int64_t> class_counts(const Split& split) const;
  double majority_rate(const Split& split) const;
  double minority_rate(const Split& split) const;

  // Throws Error(run_failed) where the file was written to after it was opened and its content no longer matches its
  // digest. What was computed since the last check then comes from unknown data. Files too large to be verified fail on
  // any change. A file that was only touched, or whose path now names another file, is logged, because the samples are
  // unchanged.
  void require_unchanged() const;

  // The first of `samples` that has a value which is not finite. Images have none.
  std::optional<std::int64_t> first_not_finite(const Split& split, std::span<const std::int64_t> samples) const;

  // Writes the file durably. It is built in memory first, so that making a set needs about three times its size.
  void save(const std::filesystem::path& path) const;
  // Returns the bytes of that file.
  std::vector<std::byte> image() const;

 private:
  Dataset() = default;
  void open_file(const std::filesystem::path& path, Verify verify);
  void require_finite(const char* group, const Split& split) const;
  Digest content_digest() const;

  DataInfo info_;
  Split train_, test_;
  std::vector<std::byte> image_;  // for a set made by from_image()
  std::string path_;              // for a set from a file
  bool verified_ = false;         // its content has been compared with its digest
  mutable MappedFile mapping_;
  mutable bool told_replaced_ = false;
  DatasetContent content_;  // for a set in memory
};

}  // namespace spankey
