#include "data/dataset.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/hdf5_file.h"
#include "base/log.h"
#include "data/builtin.h"

namespace spankey {

namespace {

constexpr const char* format_name = "spankey data set";
constexpr std::int64_t format_version = 1;
constexpr std::int64_t verify_up_to_bytes = std::int64_t{1} << 30;

// Mean and standard deviation of pixel / 255 per channel, from exact integer sums, which are the same on every machine.
void measure_channels(std::span<const std::uint8_t> images, DataInfo& info) {
  const auto channels = static_cast<std::size_t>(info.sample_shape[0]);
  const auto plane = static_cast<std::size_t>(info.sample_shape[1] * info.sample_shape[2]);
  std::vector<std::uint64_t> sum(channels), square(channels);
  for (std::size_t begin = 0; begin < images.size(); begin += plane) {
    const std::size_t channel = begin / plane % channels;
    std::uint64_t plane_sum = 0, plane_square = 0;
    for (std::size_t i = 0; i < plane; ++i) {
      const std::uint64_t pixel = images[begin + i];
      plane_sum += pixel;
      plane_square += pixel * pixel;
    }
    sum[channel] += plane_sum;
    square[channel] += plane_square;
  }
  const std::size_t pixels_per_channel = images.size() / channels;
  const auto count = static_cast<double>(pixels_per_channel);
  for (std::size_t c = 0; c < channels; ++c) {
    const double mean = static_cast<double>(sum[c]) / count / 255;
    const double variance = static_cast<double>(square[c]) / count / (255.0 * 255.0) - mean * mean;
    info.mean.push_back(static_cast<float>(mean));
    // A channel without any variation is only shifted.
    info.std.push_back(variance > 1e-12 ? static_cast<float>(std::sqrt(variance)) : 1.0f);
  }
}

template <class T>
void update(Sha256& hash, std::span<const T> values) {
  hash.update_int64(static_cast<std::int64_t>(values.size())).update(std::as_bytes(values));
}

template <class T>
std::span<const T> view(const std::vector<T>& values) {
  return values;
}

void check_content(const SplitContent& split, std::int64_t sample_size, bool images, std::int64_t classes) {
  const auto count = static_cast<std::int64_t>(split.labels.size());
  SPANKEY_CHECK_EQ(static_cast<std::int64_t>(images ? split.images.size() : split.features.size()),
                   count * sample_size);
  for (const std::int64_t label : split.labels) SPANKEY_CHECK(label >= 0 && label < classes);
}

// Reads the parts of a file and checks each against the others.
class FileReader {
 public:
  // `bytes` holds the whole file.
  FileReader(std::string name, std::span<const std::byte> bytes, h5::File file)
      : name_(std::move(name)), mapping_(bytes), file_(std::move(file)) {}

  DataInfo info() const {
    if (!file_.has_attribute("/", "format") || file_.string_attribute("/", "format") != format_name) {
      fail_input("{}: attribute 'format': expected \"{}\": not a data set of ours", name_, format_name);
    }
    if (const auto version = file_.int_attribute("/", "format_version"); version != format_version) {
      fail_input("{}: attribute 'format_version': expected {}, found {}", name_, format_version, version);
    }
    DataInfo info;
    const std::string kind = file_.string_attribute("/", "kind");
    if (kind != "images" && kind != "features") {
      fail_input("{}: attribute 'kind': expected images or features, found '{}'", name_, kind);
    }
    const auto shape = file_.info("train/" + kind).shape;
    const std::size_t rank = kind == "images" ? 4 : 2;
    if (shape.size() != rank || std::any_of(shape.begin(), shape.end(), [](auto extent) { return extent <= 0; })) {
      fail_input("{}: data set 'train/{}': expected {} dimensions, none of them 0", name_, kind, rank);
    }
    info.sample_shape.assign(shape.begin() + 1, shape.end());
    info.classes = file_.int_attribute("/", "classes");
    info.class_names = file_.read_strings("class_names");
    if (info.classes < 1 || static_cast<std::size_t>(info.classes) != info.class_names.size()) {
      fail_input("{}: attribute 'classes': expected the number of class names, {}, found {}", name_,
                 info.class_names.size(), info.classes);
    }
    const std::size_t channels = kind == "images" ? static_cast<std::size_t>(shape[1]) : 1;
    info.mean = channel_values("mean", channels);
    info.std = channel_values("std", channels);
    if (std::any_of(info.std.begin(), info.std.end(), [](float value) { return !(value > 0); })) {
      fail_input("{}: attribute 'std': expected values above 0", name_);
    }
    info.source = file_.string_attribute("/", "source");
    info.digest = file_.string_attribute("/", "digest");
    return info;
  }

  Split split(const std::string& group, const DataInfo& info) const {
    Split split;
    const bool images = info.sample_shape.size() == 3;
    const std::string values = group + (images ? "/images" : "/features");
    if (images) {
      const auto bytes = mapped(values, h5::Type::uint8, info);
      split.images = {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
    } else {
      const auto bytes = mapped(values, h5::Type::float32, info);
      if (reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(float) != 0) {
        fail_input("{}: offset {}: expected data set '{}' at a multiple of {} bytes", name_, *file_.offset(values),
                   values, alignof(float));
      }
      split.features = {reinterpret_cast<const float*>(bytes.data()), bytes.size() / sizeof(float)};
    }
    split.size = file_.info(values).shape[0];
    split.labels = labels(group + "/labels", split.size, info.classes);
    return split;
  }

 private:
  std::vector<float> channel_values(const std::string& attribute, std::size_t channels) const {
    const auto values = file_.doubles_attribute("/", attribute);
    if (values.size() != channels ||
        !std::all_of(values.begin(), values.end(), [](double value) { return std::isfinite(value); })) {
      fail_input("{}: attribute '{}': expected {} finite numbers, one per channel", name_, attribute, channels);
    }
    std::vector<float> result;
    for (const double value : values) result.push_back(static_cast<float>(value));
    return result;
  }

  std::span<const std::byte> mapped(const std::string& dataset, h5::Type type, const DataInfo& info) const {
    const h5::Info found = file_.info(dataset);
    if (found.type != type) {
      fail_input("{}: data set '{}': expected {}, found {}", name_, dataset, h5::to_string(type),
                 h5::to_string(found.type));
    }
    if (found.shape.empty() ||
        !std::equal(found.shape.begin() + 1, found.shape.end(), info.sample_shape.begin(), info.sample_shape.end())) {
      fail_input("{}: data set '{}': expected samples of shape ({}) as in train, found ({})", name_, dataset,
                 fmt::join(info.sample_shape, ", "), fmt::join(found.shape, ", "));
    }
    const auto bytes = static_cast<std::uint64_t>(found.elements()) * h5::size_bytes(type);
    if (bytes == 0) fail_input("{}: data set '{}': expected at least one sample", name_, dataset);
    const auto offset = file_.offset(dataset);
    if (!offset) fail_input("{}: data set '{}': expected contiguous storage, not chunks", name_, dataset);
    const auto begin = static_cast<std::uint64_t>(*offset);
    if (begin > mapping_.size() || bytes > mapping_.size() - begin) {
      fail_input("{}: offset {}: expected {} bytes of '{}', the file ends at {}", name_, begin, bytes, dataset,
                 mapping_.size());
    }
    return mapping_.subspan(begin, bytes);
  }

  std::vector<std::int64_t> labels(const std::string& dataset, std::int64_t count, std::int64_t classes) const {
    auto labels = file_.read<std::int64_t>(dataset);
    if (static_cast<std::int64_t>(labels.size()) != count) {
      fail_input("{}: data set '{}': expected {} labels, one per sample, found {}", name_, dataset, count,
                 labels.size());
    }
    const auto wrong =
        std::find_if(labels.begin(), labels.end(), [&](std::int64_t label) { return label < 0 || label >= classes; });
    if (wrong != labels.end()) {
      const std::int64_t at = wrong - labels.begin();
      fail_input(
          "{}: offset {}: expected a label from 0 to {} (sample {} of '{}'), found {}", name_,
          file_.offset(dataset).value_or(0) + at * static_cast<std::int64_t>(h5::size_bytes(file_.info(dataset).type)),
          classes - 1, at, dataset, *wrong);
    }
    return labels;
  }

  std::string name_;
  std::span<const std::byte> mapping_;
  h5::File file_;
};

}  // namespace

std::int64_t DataInfo::sample_size() const {
  return std::accumulate(sample_shape.begin(), sample_shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::shared_ptr<const Dataset> Dataset::open(const std::string& file, Verify verify) {
  if (file.starts_with("builtin:")) return in_memory(make_builtin(file));
  const std::shared_ptr<Dataset> dataset(new Dataset);
  dataset->open_file(file, verify);
  return dataset;
}

std::shared_ptr<const Dataset> Dataset::in_memory(DatasetContent content) {
  const std::shared_ptr<Dataset> dataset(new Dataset);
  Dataset& d = *dataset;
  d.content_ = std::move(content);
  d.info_.sample_shape = d.content_.sample_shape;
  d.info_.classes = static_cast<std::int64_t>(d.content_.class_names.size());
  d.info_.class_names = d.content_.class_names;
  d.info_.source = d.content_.source;
  for (const auto& [split, from] : {std::pair(&d.train_, &d.content_.train), std::pair(&d.test_, &d.content_.test)}) {
    check_content(*from, d.info_.sample_size(), d.is_images(), d.info_.classes);
    *split = {static_cast<std::int64_t>(from->labels.size()), from->images, from->features, from->labels};
  }
  if (d.is_images()) {
    measure_channels(d.train_.images, d.info_);
  } else {
    d.info_.mean = {0.0f};
    d.info_.std = {1.0f};
  }
  d.info_.digest = to_hex(d.content_digest());
  return dataset;
}

void Dataset::open_file(const std::filesystem::path& path, Verify verify) {
  mapping_ = MappedFile(path);
  const FileReader reader(path.string(), mapping_.bytes(), h5::File::open(path));
  info_ = reader.info();
  train_ = reader.split("train", info_);
  test_ = reader.split("test", info_);
  const auto bytes = static_cast<std::int64_t>(train_.images.size_bytes() + train_.features.size_bytes() +
                                               test_.images.size_bytes() + test_.features.size_bytes());
  path_ = path.string();
  verified_ = verify == Verify::always || (verify == Verify::auto_ && bytes <= verify_up_to_bytes);
  if (!verified_) return;
  require_finite("train", train_);
  require_finite("test", test_);
  if (const std::string found = to_hex(content_digest()); found != info_.digest) {
    fail_input("{}: offset 0 to {}: expected content with the SHA-256 {}, found {}: damaged or changed", path.string(),
               mapping_.bytes().size(), info_.digest, found);
  }
}

void Dataset::require_finite(const char* group, const Split& split) const {
  const auto wrong =
      std::find_if(split.features.begin(), split.features.end(), [](float value) { return !std::isfinite(value); });
  if (wrong == split.features.end()) return;
  const auto at = wrong - split.features.begin();
  fail_input("{}: offset {}: expected finite features, found {} (sample {} of '{}/features')", path_,
             reinterpret_cast<const std::byte*>(&*wrong) - mapping_.bytes().data(), *wrong, at / info_.sample_size(),
             group);
}

void Dataset::require_unchanged() const {
  switch (mapping_.state()) {
    case MappedFile::State::as_mapped:
      return;
    case MappedFile::State::replaced:
      if (!std::exchange(told_replaced_, true))
        log::warning(
            "{}: another file has taken this name, or the file was removed; this run keeps the data that it "
            "began with, {}",
            path_, info_.digest);
      return;
    case MappedFile::State::changed:
      break;
  }
  if (!verified_ || to_hex(content_digest()) != info_.digest)
    fail_run(
        "{}: the data were changed while they were in use{}: what was computed since the last checkpoint is of data "
        "that nobody knows; put the file back as it was and start again, to go on from the last checkpoint",
        path_, verified_ ? ", and no longer have the SHA-256 " + info_.digest : "");
  log::warning("{}: written to while in use; its content is still that of the SHA-256 {}", path_, info_.digest);
  mapping_.accept();
}

std::optional<std::int64_t> Dataset::first_not_finite(const Split& split, std::span<const std::int64_t> samples) const {
  if (is_images()) return std::nullopt;
  const auto width = static_cast<std::size_t>(info_.sample_size());
  const auto found = std::find_if(samples.begin(), samples.end(), [&](std::int64_t sample) {
    const auto features = split.features.subspan(static_cast<std::size_t>(sample) * width, width);
    return !std::all_of(features.begin(), features.end(), [](float value) { return std::isfinite(value); });
  });
  return found == samples.end() ? std::nullopt : std::optional(*found);
}

Digest Dataset::content_digest() const {
  Sha256 hash;
  hash.update(is_images() ? "images" : "features").update_int64(info_.classes);
  update(hash, view(info_.sample_shape));
  update(hash, view(info_.mean));
  update(hash, view(info_.std));
  for (const std::string& name : info_.class_names) {
    hash.update_int64(static_cast<std::int64_t>(name.size())).update(name);
  }
  for (const Split* split : {&train_, &test_}) {
    update(hash, split->images);
    update(hash, split->features);
    update(hash, view(split->labels));
  }
  return hash.finish();
}

std::vector<std::int64_t> Dataset::class_counts(const Split& split) const {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(info_.classes));
  for (const std::int64_t label : split.labels) ++counts[static_cast<std::size_t>(label)];
  return counts;
}

double Dataset::majority_rate(const Split& split) const {
  const auto counts = class_counts(split);
  return static_cast<double>(*std::max_element(counts.begin(), counts.end())) / static_cast<double>(split.size);
}

double Dataset::minority_rate(const Split& split) const {
  const auto counts = class_counts(split);
  return static_cast<double>(*std::min_element(counts.begin(), counts.end())) / static_cast<double>(split.size);
}

std::shared_ptr<const Dataset> Dataset::from_image(std::vector<std::byte> image, const std::string& name) {
  const std::shared_ptr<Dataset> dataset(new Dataset);
  Dataset& d = *dataset;
  d.image_ = std::move(image);
  const FileReader reader(name, d.image_, h5::File::from_image(d.image_, name));
  d.info_ = reader.info();
  d.train_ = reader.split("train", d.info_);
  d.test_ = reader.split("test", d.info_);
  return dataset;
}

void Dataset::save(const std::filesystem::path& path) const {
  write_durably(path, image());
}

std::vector<std::byte> Dataset::image() const {
  h5::File file = h5::File::create();
  file.set_attribute("/", "format", std::string(format_name));
  file.set_attribute("/", "format_version", format_version);
  file.set_attribute("/", "kind", std::string(is_images() ? "images" : "features"));
  file.set_attribute("/", "classes", info_.classes);
  file.set_attribute("/", "mean", std::vector<double>(info_.mean.begin(), info_.mean.end()));
  file.set_attribute("/", "std", std::vector<double>(info_.std.begin(), info_.std.end()));
  file.set_attribute("/", "source", info_.source);
  file.set_attribute("/", "digest", info_.digest);
  for (const auto& [group, split] : {std::pair("train/", &train_), std::pair("test/", &test_)}) {
    // Eight-byte values come first, so that the values after them stay aligned.
    file.write<std::int64_t>(std::string(group) + "labels", std::array{split->size}, split->labels);
    std::vector<std::int64_t> shape = {split->size};
    shape.insert(shape.end(), info_.sample_shape.begin(), info_.sample_shape.end());
    if (is_images()) {
      file.write<std::uint8_t>(std::string(group) + "images", shape, split->images);
    } else {
      file.write<float>(std::string(group) + "features", shape, split->features);
    }
  }
  file.write_strings("class_names", info_.class_names);
  return file.image();
}

}  // namespace spankey
