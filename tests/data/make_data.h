// Small data sets with known pixels.
#pragma once

#include <memory>
#include <utility>

#include "data/dataset.h"

namespace spankey::test {

// Images of (channels, height, width); byte i of the split is (7 i + 3 i^2 + offset) mod 251, labels are i mod classes.
inline SplitContent make_images(std::int64_t count, const std::vector<std::int64_t>& shape, std::int64_t classes,
                                std::uint64_t offset) {
  SplitContent split;
  split.images.resize(static_cast<std::size_t>(count * shape[0] * shape[1] * shape[2]));
  for (std::uint64_t i = 0; i < split.images.size(); ++i) {
    split.images[i] = static_cast<std::uint8_t>((7 * i + 3 * i * i + offset) % 251);
  }
  for (std::int64_t i = 0; i < count; ++i) split.labels.push_back(i % classes);
  return split;
}

inline DatasetContent make_image_content(std::int64_t train, std::int64_t test, std::vector<std::int64_t> shape,
                                         std::int64_t classes = 3) {
  DatasetContent content;
  content.sample_shape = std::move(shape);
  for (std::int64_t c = 0; c < classes; ++c) content.class_names.push_back("class " + std::to_string(c));
  content.source = "made for a test";
  content.train = make_images(train, content.sample_shape, classes, 0);
  content.test = make_images(test, content.sample_shape, classes, 100);
  return content;
}

inline std::shared_ptr<const Dataset> make_image_data(std::int64_t train, std::int64_t test,
                                                      std::vector<std::int64_t> shape, std::int64_t classes = 3) {
  return Dataset::in_memory(make_image_content(train, test, std::move(shape), classes));
}

// `train` images that are black but for one white pixel.
inline std::shared_ptr<const Dataset> make_dot_data(std::int64_t train, std::int64_t side, std::int64_t y,
                                                    std::int64_t x) {
  DatasetContent content = make_image_content(train, 1, {1, side, side});
  content.train.images.assign(content.train.images.size(), 0);
  for (std::int64_t i = 0; i < train; ++i) {
    content.train.images[static_cast<std::size_t>((i * side + y) * side + x)] = 255;
  }
  return Dataset::in_memory(std::move(content));
}

inline DatasetContent make_feature_content(std::int64_t train, std::int64_t test, std::int64_t features) {
  DatasetContent content;
  content.sample_shape = {features};
  content.class_names = {"a", "b"};
  content.source = "made for a test";
  for (auto [split, count] : {std::pair(&content.train, train), std::pair(&content.test, test)}) {
    for (std::int64_t i = 0; i < count * features; ++i) split->features.push_back(0.25f * static_cast<float>(i) - 1.0f);
    for (std::int64_t i = 0; i < count; ++i) split->labels.push_back(i % 2);
  }
  return content;
}

}  // namespace spankey::test
