// A network with its initial weights, its owner, and a user's key, as files. Nothing is trained.
#pragma once

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "keyring/model_file.h"
#include "keyring/user_key.h"
#include "predict/open_network.h"
#include "support/temporary_folder.h"
#include "train/measure.h"

namespace spankey::test {

class GatedFiles : public testing::Test {
 protected:
  static constexpr std::int64_t day = 86'400;

  void SetUp() override {
    write_durably(folder / "model.skm", write_model(description, *experiment.model, /*laboratory=*/true, owner));
    write_key("user.skk", [](UserKey&) {});
  }

  // A valid key that begins an hour ago and lasts a day, after `change`.
  void write_key(const std::string& name, const std::function<void(UserKey&)>& change,
                 const SigningKey* signer = nullptr, const SealWith& seal = {}) {
    UserKey key;
    key.serial = 3;
    key.name = "Ann";
    key.model_id = to_hex(weights_digest(*experiment.model));
    key.issued_at = key.not_before = now - 3600;
    key.not_after = now + day;
    key.sites = description.sites;
    key.vectors = SecretBytes::copy_of(std::as_bytes(std::span(vectors)));
    change(key);
    key.key_digest = vectors_digest(key.sites, key.vectors.bytes());
    write_durably(folder / name, write_user_key(key, signer ? *signer : owner, seal), 0600);
  }

  // The key as the network takes it, by other means than the code under test.
  Injection injection() const {
    std::vector<std::int64_t> points;
    std::vector<at::Tensor> keys;
    std::int64_t begin = 0;
    for (const auto& site : description.sites) {
      points.push_back(site.point);
      keys.push_back(at::tensor(vectors).narrow(0, begin, site.width).unsqueeze(0));
      begin += site.width;
    }
    return Injection::of_keys(points, keys, description.kind);
  }

  // What the evaluation counts over the test split.
  AccessCounts counts(const Injection& key) const {
    const EvaluationMode mode(*experiment.model);
    SplitReader reader(experiment, experiment.dataset->test());
    return measure([&](const at::Tensor& x) { return experiment.model->forward(x, key); }, reader,
                   experiment.deny->reject);
  }

  // Deviation 0.5 over the widest site, whose prefix the other one is.
  static std::vector<float> make_vectors(const NetworkDescription& description) {
    std::int64_t widest = 0;
    for (const auto& site : description.sites) widest = std::max(widest, site.width);
    auto draw = at::sin(at::arange(widest, at::kDouble) * at::arange(widest, at::kDouble));
    draw = (draw * (0.5 / draw.std().item<double>())).to(at::kFloat);
    std::vector<float> all;
    for (const auto& site : description.sites)
      all.insert(all.end(), draw.const_data_ptr<float>(), draw.const_data_ptr<float>() + site.width);
    return all;
  }

  TemporaryFolder folder;
  const std::vector<std::byte> seed = std::vector<std::byte>(32, std::byte{9});
  const SigningKey owner{seed};
  const Experiment experiment = make_experiment(parse_config("[deny]\nmode='B'\n[key]\nlayers=[0,2]\n", "test"));
  const NetworkDescription description = describe_experiment(experiment);
  const std::vector<float> vectors = make_vectors(description);
  const std::int64_t now =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
};

}  // namespace spankey::test
