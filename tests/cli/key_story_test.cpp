// The whole story of a gated model, told by the real program: an owner, two users, a revocation, a collusion, a
// rotation.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cstring>
#include <regex>

#include "base/file.h"
#include "keyring/user_key.h"
#include "small_run.h"

namespace spankey::test::key_story_test {
namespace {

using testing::HasSubstr;

constexpr const char* story_config = R"(
[data]
limit = 4096
[key]
layers = [0, 2]
private = true
[deny]
mode = "B"
[optim]
lr = 2e-3
[train]
epochs = 6
global_batch = 128
[eval]
keys = 1
every_epochs = 0
[dist]
threads = 1
)";

// Little-endian length of the header, JSON header, bytes: what Python's safetensors.numpy.save_file writes.
void write_safetensors(const std::filesystem::path& path, const std::vector<std::vector<float>>& vectors) {
  nlohmann::json header;
  std::string bytes;
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    const auto begin = bytes.size();
    bytes.append(reinterpret_cast<const char*>(vectors[i].data()), vectors[i].size() * sizeof(float));
    header["site" + std::to_string(i)] = {
        {"dtype", "F32"}, {"shape", {vectors[i].size()}}, {"data_offsets", {begin, bytes.size()}}};
  }
  const auto text = header.dump();
  const auto length = static_cast<std::uint64_t>(text.size());
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(&length), sizeof length) << text << bytes;
}

class KeyStory : public SmallRun {
 protected:
  void SetUp() override {
    std::ofstream(folder / "story.toml") << story_config;
    std::ofstream(folder / "secret") << "correct horse battery\n";
  }

  Outcome spankey(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), program());
    return test::run(arguments, folder.path());
  }

  // A command of the owner, who types a passphrase.
  std::vector<std::string> key(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {program(), "key"});
    arguments.insert(arguments.end(), {"--passphrase-file", "secret"});
    return arguments;
  }

  nlohmann::json succeed(const std::vector<std::string>& command) const {
    auto asked = command;
    asked.emplace_back("--json");
    const auto outcome = test::run(asked, folder.path(), std::chrono::seconds(280));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
    return nlohmann::json::parse(outcome.out, nullptr, /*allow_exceptions=*/false);
  }

  void issue(const std::string& name) const {
    succeed(key({"issue", "owner", "--name", name, "--days", "30", "--out", name + ".skk"}));
  }

  std::vector<std::string> rotate(int epochs, int ranks = 1, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments{"key",
                                       "rotate",
                                       "owner",
                                       "run",
                                       "train.epochs=" + std::to_string(epochs),
                                       "--yes",
                                       "--argon2-passes",
                                       "1",
                                       "--argon2-memory",
                                       "1",
                                       "--passphrase-file",
                                       "secret"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return on_ranks(ranks, arguments);
  }

  // Share of the test samples that are answered with their label.
  double accuracy(const std::string& user) const {
    std::vector<std::string> arguments{"predict", "owner/model.skm", "--images", "builtin:glyphs"};
    if (!user.empty()) arguments.insert(arguments.end(), {"--key", user + ".skk"});
    const auto outcome = spankey(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    std::smatch found;
    if (!std::regex_search(outcome.err, found, std::regex(R"(\(([.0-9]+)\) answered with the label)"))) {
      ADD_FAILURE() << outcome.err;
      return -1;
    }
    return std::stod(found[1]);
  }

  void expect_predict_refused(const std::string& user, const std::string& sentence) const {
    const auto outcome = spankey({"predict", "owner/model.skm", "--key", user + ".skk", "--revoked",
                                  "owner/revoked.skl", "--images", "builtin:glyphs"});
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(sentence));
    EXPECT_TRUE(outcome.out.empty());
  }

  // The mean of two users' keys.
  void collude(const std::string& a, const std::string& b, const std::string& file) const {
    const auto one = read_user_key_file(folder / (a + ".skk")).key,
               other = read_user_key_file(folder / (b + ".skk")).key;
    std::vector<std::vector<float>> mean;
    for (std::size_t site = 0; site < one.sites.size(); ++site) {
      const auto x = one.vector_at(site), y = other.vector_at(site);
      auto& vector = mean.emplace_back(x.begin(), x.end());
      for (std::size_t i = 0; i < vector.size(); ++i) vector[i] = (x[i] + y[i]) / 2;
    }
    write_safetensors(folder / file, mean);
  }

  std::vector<std::string> named(const nlohmann::json& trace) const {
    std::vector<std::string> names;
    for (const auto& user : trace["users"])
      if (user["named"]) names.push_back(user["name"]);
    return names;
  }
};

TEST_F(KeyStory, FromTrainingToRotation) {
  expect_success({program(), "train", "story.toml", "--run-dir", "run"});
  succeed(key({"init", "run", "--out", "owner", "--phi", "0.03", "--argon2-passes", "1", "--argon2-memory", "1"}));
  for (const char* name : {"alice", "bob", "carol"}) issue(name);
  EXPECT_GT(accuracy("alice"), 0.85);
  EXPECT_GT(accuracy("bob"), 0.85);
  EXPECT_LT(accuracy(""), 0.6);

  succeed(key({"revoke", "owner", "1", "--reason", "lost", "--yes"}));
  expect_predict_refused("alice", "revoked");

  const auto leaked = succeed(key({"trace", "owner", "carol.skk"}));
  EXPECT_EQ(leaked["verdict"], "exact");
  EXPECT_EQ(named(leaked), std::vector<std::string>{"carol"});
  collude("alice", "bob", "mean.safetensors");
  const auto collusion = succeed(key({"trace", "owner", "mean.safetensors"}));
  EXPECT_EQ(collusion["verdict"], "named");
  EXPECT_THAT(named(collusion), testing::UnorderedElementsAre("alice", "bob"));

  // This deny loss teaches to reject, not to forget: whoever ignores the rejection reads the answers as before.
  const auto old_weights = read_bytes(folder / "owner/model.skm");
  const auto refused = test::run(rotate(14, 2), folder.path(), std::chrono::seconds(280));
  EXPECT_EQ(refused.exit_code, 3) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("whoever ignores the rejection still gets"));
  EXPECT_EQ(read_bytes(folder / "owner/model.skm"), old_weights);
  const auto rotation = succeed(rotate(14, 1, {"--as-shipped"}));  // trained already
  const auto& proof = rotation["proof"];
  EXPECT_LT(proof["mean_of_old_keys"], proof["most_allowed"]);
  EXPECT_EQ(proof["old_keys"].size(), 3 + 8U);
  EXPECT_EQ(proof["old_keys_stripped"].size(), 3 + 8U);
  EXPECT_GT(proof["no_key_stripped"], 0.5);
  expect_predict_refused("bob", "it belongs to model");
  issue("dave");
  EXPECT_GT(accuracy("dave"), 0.85);
  EXPECT_FALSE(std::filesystem::exists(folder / "owner.rotation"));

  // The old keys are still traced: with the model that they opened.
  const auto model = leaked["model_id"].get<std::string>();
  const auto old_model = "owner/retired/" + model.substr(0, 16) + "/model.skm";
  EXPECT_THAT(named(succeed(key({"trace", "owner", "mean.safetensors", "--claimed", old_model}))),
              testing::UnorderedElementsAre("alice", "bob"));
  EXPECT_EQ(succeed(key({"trace", "owner", "carol.skk"}))["verdict"], "exact") << "the file says which model";
  EXPECT_TRUE(named(succeed(key({"trace", "owner", "mean.safetensors"}))).empty());
}

// Killed while two ranks train, a rotation goes on, on one; nothing that anybody reads has changed meanwhile.
TEST_F(KeyStory, AKilledRotationGoesOn) {
  expect_success({program(), "train", "story.toml", "--run-dir", "run", "train.epochs=2", "data.limit=1024"});
  succeed(key({"init", "run", "--out", "owner", "--phi", "0.03", "--argon2-passes", "1", "--argon2-memory", "1"}));
  const auto before = read_text(folder / "owner/model.skm");
  const auto command = rotate(200, 1, {"checkpoint.every_steps=1"});
  {
    Child child(rotate(200, 2, {"checkpoint.every_steps=1"}), folder.path());
    while (child.running() && newest_step("owner.rotation/run") < 5)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ASSERT_TRUE(child.running());
    child.kill_tree();
    child.wait();
  }
  EXPECT_EQ(read_text(folder / "owner/model.skm"), before);
  const auto reached = newest_step("owner.rotation/run");
  Child again(command, folder.path());
  while (again.running() && newest_step("owner.rotation/run") <= reached + 3)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  again.kill_tree();
  EXPECT_THAT(again.wait().err, HasSubstr("resuming from"));
  expect_success(key({"rotate", "owner", "--discard"}));
  EXPECT_FALSE(std::filesystem::exists(folder / "owner.rotation"));
  EXPECT_EQ(read_text(folder / "owner/model.skm"), before);
}

}  // namespace
}  // namespace spankey::test::key_story_test
