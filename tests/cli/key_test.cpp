// spankey key: an owner's work with the real program, and what the files that he gives away hold of his secret.
#include <ATen/ATen.h>
#include <gmock/gmock.h>

#include <set>

#include "base/hdf5_file.h"
#include "keyring/owner_folder.h"
#include "small_run.h"

namespace spankey::test::key_test {
namespace {

using testing::HasSubstr;

constexpr const char* passphrase = "correct horse";

class Key : public SmallRun {
 protected:
  void SetUp() override {
    SmallRun::SetUp();
    std::ofstream(folder / "pass") << passphrase << "\n";
    std::ofstream(folder / "wrong") << "correct hors\n";
  }

  // A run with a private basis, trained once for all tests. None of them changes it.
  void train_private() {
    static const TemporaryFolder shared;
    if (!std::filesystem::exists(shared / "run"))
      expect_success(train(1, (shared / "run").string(), {"key.private=true", "train.epochs=6"}));
    std::filesystem::create_directory_symlink(shared / "run", folder / "run");
  }

  std::vector<std::string> key(std::vector<std::string> words) const {
    words.insert(words.begin(), {program(), "key"});
    return words;
  }
  std::vector<std::string> with_passphrase(std::vector<std::string> words) const {
    words.insert(words.end(), {"--passphrase-file", "pass"});
    return key(words);
  }
  // The JSON that a command prints.
  nlohmann::json json(std::vector<std::string> command) const {
    command.push_back("--json");
    const auto outcome = test::run(command, folder.path());
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return nlohmann::json::parse(outcome.out, nullptr, false);
  }
  void refused(std::vector<std::string> command, const std::string& sentence) const {
    command.erase(command.begin());
    expect_refused(command, sentence);
  }
  nlohmann::json init(const std::string& run, std::vector<std::string> more = {}) const {
    // A network that has learnt so little would lose more by a larger fingerprint than key issue allows.
    std::vector<std::string> words{
        "init", run, "--out", "owner", "--phi", "0.02", "--argon2-passes", "1", "--argon2-memory", "1"};
    words.insert(words.end(), more.begin(), more.end());
    return json(with_passphrase(words));
  }
  nlohmann::json issue(const std::string& name, const std::string& file) const {
    return json(with_passphrase({"issue", "owner", "--name", name, "--days", "30", "--out", file}));
  }
};

TEST_F(Key, IsIssuedRevokedAndReturned) {
  train_private();
  const auto made = init("run");
  EXPECT_EQ(made["laboratory"], false);
  EXPECT_EQ(made["model_id"], result("run")["weights_sha256"]);
  const auto issued = issue("Ann", "ann.skk")["issued"][0];
  EXPECT_EQ(issued["serial"], 1);
  EXPECT_GE(issued["accuracy"].get<double>(), made["correct_accuracy"].get<double>() - 0.02);
  const std::vector<std::string> verify{"verify",          "ann.skk",   "--model",
                                        "owner/model.skm", "--revoked", "owner/revoked.skl"};
  EXPECT_EQ(json(key(verify))["usable"], true);

  for (const char* day : {"2027-02-29", "2027-13-01", "2027-01-01x", "tomorrow"})
    refused(with_passphrase({"issue", "owner", "--name", "Bob", "--days", "1", "--from", day, "--out", "bob.skk"}),
            "accepted: a day such as 2026-12-31");
  const std::vector<std::string> revoke{"revoke", "owner", "1", "--reason", "lost"};
  refused(with_passphrase(revoke), "accepted: --yes to do it");
  auto dry = revoke;
  dry.push_back("--dry-run");
  EXPECT_THAT(json(with_passphrase(dry))["worth"], HasSubstr("ignore this list"));
  EXPECT_EQ(json(key(verify))["usable"], true) << "nothing was done";
  auto really = revoke;
  really.push_back("--yes");
  EXPECT_EQ(json(with_passphrase(really))["sequence"], 1);
  refused(key(verify), "is refused: it is revoked (list 1");
  const auto listed = json(with_passphrase({"list", "owner"}));
  EXPECT_EQ(listed["keys"][0]["reason"], "lost");
  EXPECT_THAT(listed["worth_of_a_revocation"], HasSubstr("key rotate"));
  json(with_passphrase({"unrevoke", "owner", "1", "--yes"}));
  EXPECT_EQ(json(key(verify))["usable"], true);
  EXPECT_EQ(json(with_passphrase({"verify-log", "owner"}))["signed_lines"], 5)
      << "init, issue, revoke, unrevoke, itself";
}

TEST_F(Key, OfALaboratorySaysSo) {
  expect_success(train(1, "run", {"train.epochs=6"}));
  refused(with_passphrase({"init", "run", "--out", "owner"}), "its basis follows a seed");
  EXPECT_EQ(init("run", {"--laboratory"})["laboratory"], true);
  issue("Ann", "ann.skk");
  for (const char* file : {"ann.skk", "owner", "owner/model.skm", "owner/revoked.skl"})
    EXPECT_EQ(json(key({"show", file}))["laboratory"], true) << file;
}

TEST_F(Key, FoldersAreCopiedWholeOrInTheirPublicPart) {
  train_private();
  init("run");
  issue("Ann", "ann.skk");
  json(key({"export", "owner", "--out", "public", "--public"}));
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "public"))
    names.insert(entry.path().filename().string());
  EXPECT_THAT(names, testing::ElementsAre("model.skm", "revoked.skl"));
  json(with_passphrase({"export", "owner", "--out", "backup"}));
  refused(key({"import", "backup", "--out", "again", "--yes", "--passphrase-file", "wrong"}),
          "the passphrase is another one");
  EXPECT_EQ(json(with_passphrase({"import", "backup", "--out", "again", "--yes"}))["last_serial"], 1);
  EXPECT_EQ(json(with_passphrase({"list", "again"}))["keys"][0]["name"], "Ann");
}

TEST_F(Key, PassphrasesComeFromDescriptorsAndPairsOpenKeys) {
  const auto outcome = test::run({"/bin/bash", "-c",
                                  "exec \"$0\" key pair Ann --out ann --argon2-passes 1 --argon2-memory 1 "
                                  "--passphrase-fd 3 3<pass",
                                  program()},
                                 folder.path());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(json(key({"show", "ann.pub"}))["name"], "Ann");
  std::ofstream(folder / "short") << "1234567\n";
  refused(key({"pair", "Bob", "--out", "bob", "--passphrase-file", "short"}), "accepted: at least 8");
  refused(key({"pair", "Bob", "--out", "bob", "--passphrase-fd", "99"}),
          "it is not open; accepted: an open descriptor");
  // No terminal to ask: the test has none, or takes it away.
  const auto asked =
      test::run({"/usr/bin/setsid", "-w", program(), "key", "pair", "Bob", "--out", "bob"}, folder.path());
  EXPECT_EQ(asked.exit_code, 2);
  EXPECT_THAT(asked.err, HasSubstr("no terminal to ask for it; accepted: --passphrase-file FILE"));
  EXPECT_FALSE(std::filesystem::exists(folder / "bob.sec"));
}

// A rotation that was killed between its switch and its end leaves the old folder beside the new one.
TEST_F(Key, ADryRunDoesNotFinishARotation) {
  train_private();
  init("run");
  expect_success(train(1, "earlier", {"key.private=true", "train.epochs=1"}));
  json(with_passphrase({"init", "earlier", "--out", "old", "--argon2-passes", "1", "--argon2-memory", "1"}));
  const std::string old_model = result("earlier")["weights_sha256"];
  const auto rotation = folder / "owner.rotation";
  std::filesystem::create_directory(rotation);
  std::filesystem::rename(folder / "old", rotation / "next");
  std::ofstream(rotation / "plan.json") << nlohmann::json{{"model_id", old_model}};
  EXPECT_EQ(json(key({"rotate", "owner", "--dry-run"}))["switched"], true);
  EXPECT_TRUE(std::filesystem::exists(rotation / "next/owner.sks"));
  EXPECT_EQ(json(key({"rotate", "owner"}))["model_id"], result("run")["weights_sha256"]);
  EXPECT_FALSE(std::filesystem::exists(rotation));
  EXPECT_TRUE(std::filesystem::exists(folder / "owner/retired" / old_model.substr(0, 16) / "owner.sks"));
}

// Every run of 16 numbers of a row of the basis and the coefficients of a key, as float32 and as float16.
std::vector<std::string> needles_of(std::span<const float> values, std::size_t window) {
  std::vector<std::string> needles;
  for (std::size_t begin = 0; begin + window <= values.size(); begin += window) {
    const auto part = values.subspan(begin, window);
    std::vector<at::Half> halves(part.begin(), part.end());
    needles.emplace_back(reinterpret_cast<const char*>(part.data()), part.size_bytes());
    needles.emplace_back(reinterpret_cast<const char*>(halves.data()), halves.size() * sizeof(at::Half));
  }
  return needles;
}

std::size_t found_in(const std::string& haystack, const std::vector<std::string>& needles) {
  return static_cast<std::size_t>(std::count_if(needles.begin(), needles.end(), [&](const std::string& needle) {
    return haystack.find(needle) != std::string::npos;
  }));
}

TEST_F(Key, FilesThatAreGivenAwayHoldNeitherBasisNorAlpha) {
  train_private();
  init("run");
  issue("Ann", "ann.skk");
  json(with_passphrase({"revoke", "owner", "1", "--reason", "lost", "--yes"}));
  const auto basis = h5::File::open(folder / "run/secret/basis.h5").read<float>("basis/0");
  constexpr std::size_t window = 16;
  auto needles = needles_of(basis, window);
  const OwnerFolder owner({folder / "owner"}, SecretBytes::copy_of(std::as_bytes(std::span(passphrase, 13))),
                          OwnerFolder::Access::read, 2'000'000'000);
  const auto alphas = owner.registry().alphas(1);
  const auto of_alphas = needles_of(alphas.floats(), alphas.floats().size());
  // The control: what is looked for is what the owner has, and is found where it is.
  const auto mine = owner.owner().basis[0].bytes();
  const std::string opened(reinterpret_cast<const char*>(mine.data()), mine.size());
  EXPECT_EQ(found_in(opened, needles), needles.size() / 2) << "all as float32, none as float16";
  EXPECT_EQ(found_in("x" + of_alphas[0] + needles[1], of_alphas), 1U);
  needles.insert(needles.end(), of_alphas.begin(), of_alphas.end());
  EXPECT_EQ(found_in(of_alphas[1] + needles[1], needles), 2U) << "float16 is found too";
  for (const char* file : {"ann.skk", "owner/model.skm", "owner/revoked.skl", "owner/audit.log", "owner/owner.sks",
                           "owner/registry.skr", "owner/challenge.h5", "run/log/rank0.log"}) {
    const auto bytes = content(file);
    EXPECT_GT(bytes.size(), 100U) << file;
    EXPECT_EQ(found_in(bytes, needles), 0U) << file;
  }
}

}  // namespace
}  // namespace spankey::test::key_test
