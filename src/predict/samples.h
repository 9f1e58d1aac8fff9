// The samples that a network is asked about. They are one picture, a folder of pictures, or a data set.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dist/communicator.h"
#include "keyring/network_description.h"

namespace spankey {

struct SampleBatch {
  at::Tensor values;                 // (n, C, H, W) uint8, or (n, D) float32
  std::vector<std::string> names;    // one a sample
  std::vector<std::int64_t> labels;  // one a sample, or none where they are unknown
};

class SampleSource {
 public:
  virtual ~SampleSource() = default;
  virtual std::int64_t size() const = 0;
  virtual bool has_labels() const = 0;
  // Samples begin .. end-1. Error(bad_input) names what cannot be read.
  virtual SampleBatch read(std::int64_t begin, std::int64_t end) const = 0;
};

// Collective. `place` is a JPEG or PNG file, a folder whose pictures are taken in the order of their paths (folders
// inside of it too, names that start with a dot not), or a data set (*.h5, or the name of a built-in one), of which
// the training split or the test split is taken. Error(bad_input) where there is nothing, or samples of another shape
// than the network's. The pictures of a folder are looked into when they are read. Keeps a reference to `network`.
std::unique_ptr<SampleSource> open_samples(const std::string& place, bool train_split,
                                           const NetworkDescription& network, Communicator& communicator);

// One picture as (C, H, W) uint8. Error(bad_input) begins with `name` where it has another shape than the network's
// samples.
at::Tensor picture_sample(std::span<const std::byte> bytes, const std::string& name, const NetworkDescription& network);

}  // namespace spankey
