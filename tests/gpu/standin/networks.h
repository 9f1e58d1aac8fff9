// The networks and deny losses that are tried on the stand-in.
#pragma once

#include <ATen/Context.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "config/names.h"
#include "data/make_data.h"
#include "support/temporary_folder.h"
#include "train/resident_step.h"

namespace spankey::test {

struct Network {
  const char* name;
  std::vector<std::string> overrides;
  // Kernels of a captured step with a wrong key (deny.mode = "cplus", bf16) at most. What is measured now is less by a
  // twentieth or so: a change that adds launches must raise it here.
  std::int64_t most_kernels;
};

inline const Network networks[] = {
    {"mlp", {"data.file=builtin:argmax", "key.layers=[0, 2]", "key.m=4"}, 125},
    {"small_cnn", {"data.augment=affine", "key.layers=[0, 2]"}, 140},
    {"small_resnet", {"key.layers=[0, 1, 3]"}, 345},
    {"resnet18",
     {"data.file=images", "data.augment=crop_flip", "key.layers=[0, 2, 3, 4]", "key.layout=per_layer",
      "key.per_layer_key=true", "optim.name=sgd", "optim.lr=0.1"},
     435},
    {"vit_tiny", {"data.file=images", "key.layers=[0, 1]", "optim.name=adamw"}, 1080}};

inline const Network& network(std::string_view name) {
  return *std::find_if(std::begin(networks), std::end(networks), [&](const auto& n) { return n.name == name; });
}

inline constexpr int steps_to_capture = CapturedWork::eager_steps_before_capture + 1;

// The stand-in does not know cuDNN's attention, which LibTorch would take for vit_tiny in bfloat16: the next best takes
// its place. What cuDNN would do is not tried anywhere.
inline void leave_out_cudnn_attention() {
  at::globalContext().setSDPUseCuDNN(false);
}

// A file of colour images for the networks that want them, made when first asked for.
inline std::string images() {
  static const TemporaryFolder folder;
  const auto file = folder / "images.h5";
  if (!std::filesystem::exists(file)) make_image_data(85, 32, {3, 32, 32}, 10)->save(file);
  return file.string();
}

// Eleven steps an epoch, the last of 5 samples instead of 8.
inline Config config_of(const Network& network, const std::vector<std::string>& more) {
  std::vector<std::string> overrides{
      "train.device=cuda",     "train.capture=on", "data.limit=85",   "train.global_batch=8",
      "train.drop_last=false", "dist.threads=1",   "deny.weight=0.1", std::string("model.name=") + network.name};
  for (const auto& word : network.overrides)
    overrides.push_back(word == "data.file=images" ? "data.file=" + images() : word);
  overrides.insert(overrides.end(), more.begin(), more.end());
  return parse_config("", "test", overrides);
}

}  // namespace spankey::test
