#include "data/argmax.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/stream.h"

namespace spankey {

namespace {

constexpr float scale = 0.5f;

// Which draws a layer of the stream stands for.
enum Layer : std::uint32_t { layer_features = 0, layer_weights = 1, layer_split = 2 };

std::int64_t argmax(const std::vector<float>& x, const std::vector<float>& weights, std::vector<double>& scores) {
  const auto classes = scores.size();
  std::fill(scores.begin(), scores.end(), 0.0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t c = 0; c < classes; ++c) {
      scores[c] += static_cast<double>(x[i]) * static_cast<double>(weights[i * classes + c]);
    }
  }
  return std::max_element(scores.begin(), scores.end()) - scores.begin();
}

}  // namespace

DatasetContent make_argmax(const ArgmaxSizes& sizes) {
  const auto features = static_cast<std::size_t>(sizes.features), classes = static_cast<std::size_t>(sizes.classes);
  std::vector<float> weights(features * classes);  // (features, classes)
  Stream({.purpose = Purpose::argmax_data, .layer = layer_weights}).fill_normal(weights);
  for (float& value : weights) value *= scale;

  DatasetContent content;
  content.sample_shape = {sizes.features};
  for (std::size_t c = 0; c < classes; ++c) content.class_names.push_back(std::to_string(c));
  content.source = fmt::format("argmax: y = argmax x W, {} features, noise-free (example 01)", features);
  const auto order = permutation({.purpose = Purpose::argmax_data, .layer = layer_split}, sizes.train + sizes.test);
  std::vector<float> x(features);
  std::vector<double> scores(classes);
  for (const auto sample : order) {
    Stream({.purpose = Purpose::argmax_data, .sample = static_cast<std::uint64_t>(sample), .layer = layer_features})
        .fill_normal(x);
    for (float& value : x) value *= scale;
    const bool is_train = content.train.labels.size() < static_cast<std::size_t>(sizes.train);
    SplitContent& split = is_train ? content.train : content.test;
    split.features.insert(split.features.end(), x.begin(), x.end());
    split.labels.push_back(argmax(x, weights, scores));
  }
  return content;
}

DatasetContent make_argmax() {
  return make_argmax(ArgmaxSizes{});
}

void render_argmax(const ArgmaxSizes& sizes, const std::filesystem::path& out) {
  Dataset::in_memory(make_argmax(sizes))->save(out);
}

}  // namespace spankey
