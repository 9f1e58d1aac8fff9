// What everybody may know of a gated network beside its weights: enough to build it and to let a key into it. It holds
// neither the basis nor a key.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "keyring/key_facts.h"
#include "spankey/deny/deny.h"
#include "spankey/models/model.h"

namespace spankey {

struct NetworkDescription {
  std::string network;                     // model.name
  std::vector<std::int64_t> sample_shape;  // (C, H, W) or (D)
  std::int64_t classes = 0;
  std::vector<std::string> class_names;  // one a class, or none where they would take too much room
  std::string deny_mode = "none";
  bool deny_statistics = false;  // BatchNorm has buffers for the statistics of denied passes
  Precision precision = Precision::float32;

  std::vector<KeySite> sites;  // injection points that take a key
  InjectionKind kind;
  Layout layout = Layout::shared_prefix;
  bool per_layer_key = false;
  double target_std = 0.0;  // to which the keys of training were rescaled; 0: they were not

  std::vector<float> mean, std;  // per channel, of pixel / 255 ({0} and {1} for features)

  RejectKind reject() const { return find_deny_loss(deny_mode).reject; }
  bool is_images() const { return sample_shape.size() == 3; }
  std::int64_t sample_size() const;
  // The number, where the class has no name.
  std::string class_name(std::int64_t number) const;
};

// What a data set says of its samples, as far as a description needs it.
struct SampleFacts {
  std::vector<std::int64_t> shape;
  std::vector<std::string> class_names;
  std::vector<float> mean, std;
};

// The description of `model`, which was made from `config` for such samples. Error(bad_input) where the network is
// larger than a description may say (see read_description).
NetworkDescription describe_network(const Config& config, const SampleFacts& samples, const Model& model);

// An object with the members "architecture", "injection" and "normalisation", each an object.
nlohmann::json description_json(const NetworkDescription& description);

// Reads the three members of `header`. Error(bad_input) "NAME: ..." in one line for what is missing, unknown or absurd:
// at most 65,536 classes and 2^20 numbers a sample, so that no file can ask for more memory than a network of that size
// takes. `header` may have other members.
NetworkDescription read_description(const nlohmann::json& header, const std::string& name);

// The network without its weights, in evaluation mode.
std::shared_ptr<Model> build_network(const NetworkDescription& description, const std::string& name);

// Brings a key, one vector (1, d) for each site, to the strength that the network was trained with: one factor for each
// slot (spankey/keys/key_rules.h). A key that has it already is returned bit for bit.
std::vector<at::Tensor> at_trained_strength(const NetworkDescription& description, std::vector<at::Tensor> vectors);

}  // namespace spankey
