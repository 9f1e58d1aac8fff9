#include "keyring/model_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "keyring/container.h"
#include "keyring/safetensors.h"
#include "spankey/models/registry.h"
#include "support/expect_error.h"

namespace spankey::model_file_test {
namespace {

using testing::HasSubstr;

const SigningKey& owner() {
  static const std::vector<std::byte> seed(32, std::byte{7});
  static const SigningKey key(seed);
  return key;
}

struct Made {
  NetworkDescription description;
  std::shared_ptr<Model> model;
};

Made make(const std::string& toml, const SampleFacts& samples) {
  const auto config = parse_config(toml, "test");
  const auto reject = find_deny_loss(config.deny.mode).reject;
  auto model = make_model(config.model.name, {.sample_shape = samples.shape,
                                              .classes = std::ssize(samples.class_names),
                                              .reject_class = reject == RejectKind::reject_class,
                                              .reject_head = reject == RejectKind::reject_head,
                                              .deny_statistics = config.model.batchnorm == BatchNorm::split});
  initialise(*model, 5);
  return {describe_network(config, samples, *model), model};
}

const SampleFacts digits{{1, 28, 28}, {"zero", "one", "two"}, {0.1307F}, {0.3081F}};
const SampleFacts features{{20}, {"a", "b"}, {0.0F}, {1.0F}};

Made small_mlp() {
  return make("[model]\nname='mlp'\n[data]\nfile='builtin:argmax'\n[key]\nlayers=[0,2]\nlayout='shared_blocks'\n",
              features);
}

TEST(ModelFile, OpensAsTheNetworkThatWasWritten) {
  for (const auto& made :
       {small_mlp(), make("[deny]\nmode='B'\n[key]\nlayers=[0,2]\ngamma=0.7\n", digits),
        make("[model]\nname='small_resnet'\nbatchnorm='split'\n[deny]\nmode='B_aux'\n[key]\ninject='add'\n"
             "layers=[1,3]\nper_layer_key=true\nrescale='none'\n",
             digits)}) {
    const auto bytes = write_model(made.description, *made.model, /*laboratory=*/true, owner());
    ASSERT_TRUE(looks_like_model(bytes));
    const auto opened = open_model(bytes, "model.skm");
    EXPECT_EQ(opened.model_id, to_hex(weights_digest(*made.model)));
    EXPECT_EQ(weights_digest(*opened.model), weights_digest(*made.model));
    EXPECT_EQ(description_json(opened.description), description_json(made.description));
    EXPECT_EQ(opened.owner, owner().public_key());
    EXPECT_TRUE(opened.laboratory);
    EXPECT_FALSE(opened.model->is_training());
  }
}

TEST(ModelFile, FlippedBytesAreRefused) {
  const auto made = small_mlp();
  const auto bytes = write_model(made.description, *made.model, false, owner());
  for (std::size_t at = 0; at < bytes.size(); at += at < 1500 ? 1 : 211) {
    auto flipped = bytes;
    flipped[at] ^= std::byte{0x10};
    EXPECT_ERROR(open_model(flipped, "model.skm"), ExitCode::bad_input, HasSubstr("model.skm: "));
  }
}

// What somebody may write who signs with a key of his own.
std::vector<std::byte> forged(const std::function<void(nlohmann::json& header, Safetensors& content)>& change) {
  const auto made = small_mlp();
  auto header = description_json(made.description);
  header["model_id"] = to_hex(weights_digest(*made.model));
  header["owner"] = hex_text(owner().public_key());
  header["laboratory"] = false;
  Safetensors content{.tensors = named_parameters(*made.model), .metadata = {}};
  change(header, content);
  return make_container(container_prefix(FileType::model, header), encode_safetensors(content), &owner());
}

TEST(ModelFile, AbsurdAndForeignContentIsRefused) {
  const auto refused = [](const std::string& sentence, const auto& change) {
    EXPECT_ERROR(open_model(forged(change), "model.skm"), ExitCode::bad_input,
                 testing::AllOf(HasSubstr("model.skm: "), HasSubstr(sentence)));
  };
  open_model(forged([](auto&, auto&) {}), "model.skm");  // unchanged it is whole
  refused("'classes'", [](auto& header, auto&) { header["architecture"]["classes"] = std::int64_t{1} << 40; });
  refused("'sample_shape'",
          [](auto& header, auto&) { header["architecture"]["sample_shape"] = {std::int64_t{1} << 40}; });
  refused("'network'", [](auto& header, auto&) { header["architecture"]["network"] = "../mlp"; });
  refused("'points'", [](auto& header, auto&) { header["injection"]["points"] = {0, 3}; });
  refused("'gamma'", [](auto& header, auto&) { header["injection"]["gamma"] = 1e300; });
  refused("'std'", [](auto& header, auto&) { header["normalisation"]["std"] = {0.0}; });
  refused("'owner'", [](auto& header, auto&) { header["owner"] = std::string(64, '0'); });
  refused("'path'", [](auto& header, auto&) { header["path"] = "/etc/passwd"; });
  refused("'model_id'", [](auto&, auto& content) { content.tensors[0].value = content.tensors[0].value + 1; });
  refused("the network has no '\\x1B[2J'", [](auto&, auto& content) {
    content.tensors.push_back({"\x1B[2J", at::ones({1})});
  });
  refused("'net.0.bias' is missing", [](auto&, auto& content) { content.tensors.erase(content.tensors.begin() + 1); });
}

TEST(ModelFile, SafetensorsHoldWeightsAndDescription) {
  const auto made = small_mlp();
  const auto bytes = write_safetensors(made.description, *made.model);
  const auto content = decode_safetensors(bytes, "file");
  EXPECT_EQ(content.metadata.at("weights_sha256"), to_hex(weights_digest(*made.model)));
  nlohmann::json header;
  for (const char* member : {"architecture", "injection", "normalisation"})
    header[member] = nlohmann::json::parse(content.metadata.at(member));
  EXPECT_EQ(read_description(header, "file").sites, made.description.sites);
  const auto other = make("[model]\nname='mlp'\n[data]\nfile='builtin:argmax'\n", features);
  at::NoGradGuard no_grad;
  for (auto& parameter : other.model->parameters()) parameter.zero_();
  load_weights(weights_in(bytes, "file"), *other.model, "file");
  EXPECT_EQ(weights_digest(*other.model), weights_digest(*made.model));
}

TEST(TrainedStrength, HasOneFactorForEachSlot) {
  NetworkDescription description;
  description.target_std = 0.5;
  // Deviations (n - 1 in the denominator): sqrt(2) of {1, -1}, 2 of {2, 0, -2, ...} and so on, by hand.
  const auto narrow = at::tensor({1.0F, -1.0F}).unsqueeze(0), wide = at::tensor({2.0F, 0.0F, -2.0F}).unsqueeze(0);
  description.layout = Layout::shared_prefix;  // the widest decides: 2
  auto scaled = at_trained_strength(description, {narrow, wide});
  EXPECT_TRUE(at::allclose(scaled[0], narrow * 0.25));
  EXPECT_TRUE(at::allclose(scaled[1], wide * 0.25));
  description.layout = Layout::per_layer;  // each its own
  scaled = at_trained_strength(description, {narrow, wide});
  EXPECT_TRUE(at::allclose(scaled[0], narrow * (0.5 / std::sqrt(2.0))));
  EXPECT_TRUE(at::allclose(scaled[1], wide * 0.25));
  description.layout = Layout::shared_blocks;  // all together: sqrt(10 / 4)
  scaled = at_trained_strength(description, {narrow, wide});
  EXPECT_TRUE(at::allclose(scaled[0], narrow * (0.5 / std::sqrt(2.5))));
  // What has its strength already keeps every bit, and so does everything where training rescaled nothing.
  const auto fit = at_trained_strength(description, scaled);
  EXPECT_TRUE(at::equal(fit[0], scaled[0]));
  description.target_std = 0;
  EXPECT_TRUE(at::equal(at_trained_strength(description, {narrow, wide})[1], wide));
}

}  // namespace
}  // namespace spankey::model_file_test
