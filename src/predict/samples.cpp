#include "predict/samples.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "data/dataset.h"
#include "data/picture.h"
#include "dist/on_all_ranks.h"
#include "keyring/secret_file.h"
#include "train/experiment.h"

namespace spankey {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_picture_bytes = std::size_t{64} << 20;

class DatasetSamples : public SampleSource {
 public:
  DatasetSamples(std::shared_ptr<const Dataset> dataset, bool train_split)
      : dataset_(std::move(dataset)), split_(train_split ? dataset_->train() : dataset_->test()) {}

  std::int64_t size() const override { return split_.size; }
  bool has_labels() const override { return true; }

  SampleBatch read(std::int64_t begin, std::int64_t end) const override {
    auto shape = dataset_->info().sample_shape;
    const auto first = begin * dataset_->info().sample_size();
    shape.insert(shape.begin(), end - begin);
    SampleBatch batch;
    // The numbers where they lie; they are only read.
    if (dataset_->is_images())
      batch.values = at::from_blob(const_cast<std::uint8_t*>(split_.images.data() + first), shape, at::kByte);
    else
      batch.values = at::from_blob(const_cast<float*>(split_.features.data() + first), shape, at::kFloat);
    for (auto i = begin; i < end; ++i) {
      batch.names.push_back(std::to_string(i));
      batch.labels.push_back(split_.labels[static_cast<std::size_t>(i)]);
    }
    return batch;
  }

 private:
  std::shared_ptr<const Dataset> dataset_;
  const Split& split_;
};

class PictureSamples : public SampleSource {
 public:
  PictureSamples(std::vector<std::string> files, const NetworkDescription& network)
      : files_(std::move(files)), network_(network) {}

  std::int64_t size() const override { return std::ssize(files_); }
  bool has_labels() const override { return false; }

  SampleBatch read(std::int64_t begin, std::int64_t end) const override {
    SampleBatch batch;
    std::vector<at::Tensor> pictures;
    for (auto i = begin; i < end; ++i) {
      const auto& file = files_[static_cast<std::size_t>(i)];
      pictures.push_back(picture_sample(read_public_file(file, most_picture_bytes), file, network_));
      batch.names.push_back(file);
    }
    batch.values = at::stack(pictures);
    return batch;
  }

 private:
  std::vector<std::string> files_;
  const NetworkDescription& network_;
};

std::vector<std::string> pictures_below(const fs::path& folder) {
  std::error_code error;
  std::vector<std::string> files;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().starts_with('.'))
      it.disable_recursion_pending();
    else if (has_picture_name(it->path()) && it->is_regular_file(error))
      files.push_back(it->path().string());
  }
  if (error) fail_system(error, "cannot read folder {}", folder.string());
  if (files.empty()) fail_input("{}: no .jpg, .jpeg or .png file in it", folder.string());
  std::sort(files.begin(), files.end());
  return files;
}

bool names_a_dataset(const std::string& place) {
  return place.starts_with("builtin:") || place.ends_with(".h5") || place.ends_with(".hdf5");
}

// One rank lists, so that all have the same list in the same order.
std::vector<std::string> list_pictures(const std::string& place, Communicator& communicator) {
  std::string joined;
  on_all_ranks(communicator, [&] {
    if (communicator.rank() != 0) return;
    if (!fs::exists(place)) fail_input("--images {}: no such file or folder", place);
    const auto files = fs::is_directory(place) ? pictures_below(place) : std::vector<std::string>{place};
    for (const auto& file : files) joined += file + '\0';
  });
  joined = communicator.broadcast_string(joined, 0);
  std::vector<std::string> files;
  for (std::size_t begin = 0, end = 0; begin < joined.size(); begin = end + 1) {
    end = joined.find('\0', begin);
    files.push_back(joined.substr(begin, end - begin));
  }
  return files;
}

void require_shape(const std::vector<std::int64_t>& found, const std::string& name, const NetworkDescription& network) {
  if (found != network.sample_shape)
    fail_input("{}: {}; accepted by {}: {}", name, fmt::join(found, " x "), network.network,
               fmt::join(network.sample_shape, " x "));
}

}  // namespace

std::unique_ptr<SampleSource> open_samples(const std::string& place, bool train_split,
                                           const NetworkDescription& network, Communicator& communicator) {
  if (names_a_dataset(place)) {
    DataConfig config;
    config.file = place;
    auto dataset = open_data(config, communicator);
    on_all_ranks(communicator, [&] { require_shape(dataset->info().sample_shape, place, network); });
    return std::make_unique<DatasetSamples>(std::move(dataset), train_split);
  }
  on_all_ranks(communicator, [&] {
    if (!network.is_images()) fail_input("--images {}: the network takes features; accepted: a data set (*.h5)", place);
    if (train_split) fail_input("--split train: {} has no splits; accepted with a data set (*.h5)", place);
  });
  return std::make_unique<PictureSamples>(list_pictures(place, communicator), network);
}

at::Tensor picture_sample(std::span<const std::byte> bytes, const std::string& name,
                          const NetworkDescription& network) {
  const auto picture = decode_picture(bytes, name);
  const std::vector<std::int64_t> shape{picture.channels, picture.height, picture.width};
  require_shape(shape, name, network);
  auto sample = at::empty(shape, at::kByte);
  std::memcpy(sample.mutable_data_ptr(), picture.pixels.data(), picture.pixels.size());
  return sample;
}

}  // namespace spankey
