// What an owner hands out, and what lies beside it, holds no piece of the basis and no alpha.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <unordered_map>

#include "base/file.h"
#include "key_files.h"
#include "keyring/issue.h"
#include "keyring/model_file.h"
#include "spankey/models/registry.h"
#include "support/temporary_folder.h"

namespace spankey::test::secrets_test {
namespace {

constexpr std::size_t window = 64;

// Finds windows of secrets at any place of a text.
class SecretSearch {
 public:
  // Every window of `values` that begins at one of them, as float32 and as float16.
  void add(const at::Tensor& values) {
    for (const auto type : {at::kFloat, at::kHalf}) {
      const at::Tensor stored = values.to(type).contiguous();
      const std::string bytes(static_cast<const char*>(stored.const_data_ptr()), stored.nbytes());
      for (std::size_t at = 0; at + window <= bytes.size(); at += stored.element_size())
        windows_.emplace(head(bytes.data() + at), bytes.substr(at, window));
    }
  }

  std::size_t size() const { return windows_.size(); }

  std::size_t found_in(const std::string& text) const {
    std::size_t found = 0;
    for (std::size_t at = 0; at + window <= text.size(); ++at) {
      const auto [first, last] = windows_.equal_range(head(text.data() + at));
      for (auto each = first; each != last; ++each) found += text.compare(at, window, each->second) == 0;
    }
    return found;
  }

 private:
  static std::uint64_t head(const char* bytes) {
    std::uint64_t value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
  }

  std::unordered_multimap<std::uint64_t, std::string> windows_;
};

constexpr std::int64_t m = 32;  // an alpha is as long as a window, in float16 too
constexpr const char* config_text =
    "[model]\nname='mlp'\n[data]\nfile='builtin:argmax'\n[key]\nm=32\nlayers=[1]\nprivate=true\n[deny]\nmode='B'\n";

std::string text_of(const SecretBytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.bytes().data()), bytes.size()};
}

// An owner of an untrained network, with two issued keys of which one is revoked.
class Secrets : public testing::Test {
 protected:
  void SetUp() override {
    const auto config = parse_config(config_text, "test");
    const auto model = make_model("mlp", {.sample_shape = {20}, .classes = 2, .reject_class = true});
    initialise(*model, 5);
    auto owner = small_owner();
    owner.model_id = to_hex(weights_digest(*model));
    owner.key = config.key;
    owner.sites = {{1, model->injection_points()[1].size()}};
    owner.basis = secret_basis(make_basis(config.key, {owner.sites[0].width}, 7));
    const auto description = describe_network(config, {{20}, {"a", "b"}, {0.0F}, {1.0F}}, *model);
    OwnerFolder::create({root}, std::move(owner), secret("correct horse"), cheap, noon,
                        [&](const OwnerPaths& paths, const Owner& of) {
                          write_durably(paths.model(), write_model(description, *model, false, of.signing_key()));
                        });
    OwnerFolder opened({root}, secret("correct horse"), OwnerFolder::Access::write, noon);
    issue_keys(
        opened,
        {{"Ann", noon, noon + a_day, folder / "ann.skk", {}}, {"Bob", noon, noon + a_day, folder / "bob.skk", {}}},
        noon);
    auto registry = opened.registry().copy();
    registry.revoke(1, "lost", noon);
    opened.commit(std::move(registry), noon);
    opened.sign_audit(noon);
    for (const auto& row : basis_of(opened.owner()).layers[0].unbind(0)) search.add(row);
    opened_text = text_of(opened.owner().basis[0]);
    for (std::uint64_t serial = 1; serial <= 2; ++serial) {
      search.add(alpha_tensors(opened.owner(), opened.registry().alphas(serial))[0]);
      opened_text += text_of(opened.registry().alphas(serial));
    }
  }

  TemporaryFolder folder;
  std::filesystem::path root = folder / "owner";
  SecretSearch search;
  std::string opened_text;  // of the owner's sealed files
};

TEST_F(Secrets, StandInNoFile) {
  std::map<std::string, std::size_t> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path()))
    if (entry.is_regular_file()) found[entry.path().filename().string()] = search.found_in(content_of(entry.path()));
  for (const char* name :
       {"ann.skk", "bob.skk", "model.skm", "revoked.skl", "audit.log", "owner.sks", "registry.skr"}) {
    ASSERT_TRUE(found.contains(name)) << name;
    EXPECT_EQ(found[name], 0U) << name;
  }
}

// The control: what the passphrase opens has all of them, in float32.
TEST_F(Secrets, StandInWhatThePassphraseOpens) {
  constexpr std::size_t width = 64, windows_of_a_row = width - window / sizeof(float) + 1;
  EXPECT_GE(search.found_in(opened_text), m * windows_of_a_row + 2);
  std::string text = content_of(folder / "ann.skk");
  text.insert(text.size() / 2, opened_text.substr(100, 80));
  EXPECT_GT(search.found_in(text), 0U);
}

}  // namespace
}  // namespace spankey::test::secrets_test
