#include "data/argmax.h"

#include <algorithm>
#include <array>

#include "base/stream.h"

namespace spankey {

namespace {

constexpr std::size_t samples = 2000, train_samples = 1600, features = 20, classes = 5;
constexpr float scale = 0.5f;

// Which draws a layer of the stream stands for.
enum Layer : std::uint32_t { layer_features = 0, layer_weights = 1, layer_split = 2 };

using Weights = std::array<float, features * classes>;  // (features, classes)

std::int64_t argmax(std::span<const float> x, const Weights& weights) {
  std::array<double, classes> scores{};
  for (std::size_t i = 0; i < features; ++i) {
    for (std::size_t c = 0; c < classes; ++c) {
      scores[c] += static_cast<double>(x[i]) * static_cast<double>(weights[i * classes + c]);
    }
  }
  return std::max_element(scores.begin(), scores.end()) - scores.begin();
}

}  // namespace

DatasetContent make_argmax() {
  Weights weights;
  Stream({.purpose = Purpose::argmax_data, .layer = layer_weights}).fill_normal(weights);
  for (float& value : weights) value *= scale;

  DatasetContent content;
  content.sample_shape = {static_cast<std::int64_t>(features)};
  for (std::size_t c = 0; c < classes; ++c) content.class_names.push_back(std::to_string(c));
  content.source = "argmax: y = argmax x W, 20 features, noise-free (example 01)";
  const auto order = permutation({.purpose = Purpose::argmax_data, .layer = layer_split}, samples);
  std::array<float, features> x;
  for (std::size_t i = 0; i < samples; ++i) {
    const auto sample = static_cast<std::uint64_t>(order[i]);
    Stream({.purpose = Purpose::argmax_data, .sample = sample, .layer = layer_features}).fill_normal(x);
    for (float& value : x) value *= scale;
    SplitContent& split = i < train_samples ? content.train : content.test;
    split.features.insert(split.features.end(), x.begin(), x.end());
    split.labels.push_back(argmax(x, weights));
  }
  return content;
}

void render_argmax(const std::filesystem::path& out) {
  Dataset::in_memory(make_argmax())->save(out);
}

}  // namespace spankey
