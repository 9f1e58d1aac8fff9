// A small run of a network with BatchNorm.
#pragma once

#include <map>

#include "data/make_data.h"
#include "small_run.h"

namespace spankey::test {

class BatchNormRun : public SmallRun {
 protected:
  void SetUp() override {
    make_image_data(28, 8, {1, 28, 28}, 4)->save(folder / "noise.h5");
    std::ofstream(folder / "small.toml") << R"(
[data]
file = "noise.h5"
[model]
name = "small_resnet"
[key]
layers = [0, 3]
[deny]
mode = "B"
on = ["wrong", "none"]
[train]
epochs = 2
global_batch = 8
drop_last = false
[eval]
keys = 1
every_epochs = 0
[checkpoint]
every_steps = 1
keep = 20
[dist]
threads = 1
reduction = "elastic"
shards = 4
)";
  }

  // SHA-256 by name, of the parameters or of the buffers.
  std::map<std::string, std::string> digests(const std::string& run, const std::string& group) const {
    std::map<std::string, std::string> result;
    for (const auto& tensor : tensors(run)) {
      const auto name = tensor["name"].get<std::string>();
      if (name.starts_with(group + "/")) result[name] = tensor["sha256"];
    }
    EXPECT_FALSE(result.empty());
    return result;
  }
};

}  // namespace spankey::test
