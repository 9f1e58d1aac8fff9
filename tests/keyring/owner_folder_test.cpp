// An owner's folder: what is written with which mode, in which order, and what is refused when it is opened.
#include "keyring/owner_folder.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <map>
#include <set>

#include "base/file.h"
#include "key_files.h"
#include "keyring/issue.h"
#include "keyring/valid_key.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::test::owner_folder_test {
namespace {

using testing::HasSubstr;
using Access = OwnerFolder::Access;

class OwnerFiles : public testing::Test {
 protected:
  void SetUp() override { make("owner"); }

  OwnerPaths make(const std::string& name) {
    const OwnerPaths paths{folder / name};
    OwnerFolder::create(paths, small_owner(), secret("correct horse"), cheap, noon);
    return paths;
  }
  OwnerFolder open(Access access = Access::write, const std::string& passphrase = "correct horse") {
    return {paths(), secret(passphrase), access, noon};
  }
  OwnerPaths paths() const { return {folder / "owner"}; }
  void issue(const std::string& name) {
    auto opened = open();
    issue_keys(opened,
               {{.name = name, .not_before = noon, .not_after = noon + a_day, .out = key_file(name), .seal = {}}},
               noon);
  }
  void revoke(std::uint64_t serial) {
    auto opened = open();
    auto changed = opened.registry().copy();
    changed.revoke(serial, "lost", noon);
    opened.commit(std::move(changed), noon);
  }
  std::filesystem::path key_file(const std::string& name) const { return folder / (name + ".skk"); }
  std::string refused(Access access = Access::read) {
    return refusal([&] { open(access); });
  }

  // The files as they are, to be put back.
  std::map<std::string, std::string> snapshot() const {
    std::map<std::string, std::string> files;
    for (const auto& path : {paths().owner(), paths().registry(), paths().revocations(), paths().audit()})
      files[path.filename().string()] = content_of(path);
    return files;
  }
  void put_back(const std::map<std::string, std::string>& files, const std::vector<std::string>& names) {
    for (const auto& name : names) put(paths().root / name, files.at(name));
  }

  TemporaryFolder folder;
};

TEST_F(OwnerFiles, KeepsWhatWasIssuedAndRevoked) {
  issue("ann");
  issue("bob");
  revoke(1);
  const auto opened = open(Access::read);
  const auto& registry = opened.registry();
  ASSERT_EQ(registry.keys().size(), 2U);
  EXPECT_TRUE(registry.key(1).revoked);
  EXPECT_EQ(registry.key(1).reason, "lost");
  EXPECT_FALSE(registry.key(2).revoked);
  EXPECT_EQ(opened.owner().next_serial, 3U);
  const auto list = read_revocations_file(paths().revocations());
  EXPECT_EQ(list.sequence, 1);
  ASSERT_EQ(list.keys.size(), 1U);
  const auto key = read_user_key_file(key_file("bob"));
  EXPECT_EQ(key.key.key_digest, registry.key(2).key_digest);
  EXPECT_EQ(opened.audit().head().records, 4U) << "init, two issues and a revocation";
  EXPECT_FALSE(list.names(2, key.key.key_digest));
}

TEST_F(OwnerFiles, AreForTheirOwnerAloneUnderAnyUmask) {
  for (const mode_t mask : {mode_t{0}, mode_t{0077}}) {
    const auto before = umask(mask);
    const auto name = "owner" + std::to_string(mask);
    const auto paths = make(name);
    {
      OwnerFolder opened(paths, secret("correct horse"), Access::write, noon);
      issue_keys(
          opened,
          {{.name = "ann", .not_before = noon, .not_after = noon + 1, .out = folder / (name + ".skk"), .seal = {}}},
          noon);
    }
    umask(before);
    const auto mode = [](const std::filesystem::path& path) {
      struct stat status {};
      EXPECT_EQ(stat(path.c_str(), &status), 0) << path;
      return status.st_mode & 0777U;
    };
    EXPECT_EQ(mode(paths.root), 0700U);
    for (const auto& path : {paths.owner(), paths.registry(), paths.audit(), folder / (name + ".skk")})
      EXPECT_EQ(mode(path), 0600U) << path;
    EXPECT_EQ(mode(paths.revocations()), 0644U & ~mask);
  }
}

TEST_F(OwnerFiles, OpenWithTheirPassphraseAlone) {
  EXPECT_THAT(refusal([&] { open(Access::read, "correct hors"); }),
              HasSubstr("owner.sks: the passphrase is another one"));
  EXPECT_EQ(refused(), "");
}

TEST_F(OwnerFiles, OfAnotherOwnerAreRefused) {
  issue("ann");
  const auto other = make("other");
  for (const auto& name : {"registry.skr", "revoked.skl", "audit.log"}) {
    const auto before = snapshot();
    put(paths().root / name, content_of(other.root / name));
    EXPECT_NE(refused(Access::write), "") << name;
    put_back(before, {name});
    EXPECT_EQ(refused(Access::write), "") << name;
  }
}

TEST_F(OwnerFiles, ThatWereRolledBackAreRefused) {
  issue("ann");
  const auto before = snapshot();
  issue("bob");
  const auto now = snapshot();
  put_back(before, {"registry.skr"});
  EXPECT_THAT(refused(), HasSubstr("registry.skr: the registry has been rolled back: it has 1 records"));
  put_back(now, {"registry.skr"});
  put_back(before, {"audit.log"});
  EXPECT_THAT(refused(), HasSubstr("audit.log: the log has been rolled back"));
  put_back(now, {"audit.log"});
  EXPECT_EQ(refused(), "");
}

TEST_F(OwnerFiles, TellOfEveryChangeOfTheLog) {
  issue("ann");
  { open().sign_audit(noon); }
  const auto log = content_of(paths().audit());
  for (std::size_t i = 0; i < log.size(); ++i) {
    auto changed = log;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    put(paths().audit(), changed);
    ASSERT_NE(refused(), "") << "byte " << i;
    put(paths().audit(), log.substr(0, i));
    ASSERT_NE(refused(), "") << "cut to " << i;
  }
  put(paths().audit(), log);
  const auto opened = open(Access::read);
  EXPECT_EQ(opened.audit().check(opened.owner().public_key, "audit.log").signed_lines, 3U);
  EXPECT_THAT(refusal([&] { opened.audit().check(small_owner().public_key, "audit.log"); }),
              HasSubstr("audit.log:3: the line is signed by another owner"));
}

// A command that is killed leaves some of the later files as they were. The next one finishes its work.
TEST_F(OwnerFiles, AreBroughtUpToTheRegistryAfterAKill) {
  issue("ann");
  issue("bob");
  const auto before = snapshot();
  revoke(1);
  const auto after = snapshot();
  const std::vector<std::string> order{"revoked.skl", "audit.log", "owner.sks"};
  for (std::size_t written = 0; written <= order.size(); ++written) {
    put_back(after, {"registry.skr", "revoked.skl", "audit.log", "owner.sks"});
    put_back(before, {order.begin() + static_cast<std::ptrdiff_t>(written), order.end()});
    EXPECT_EQ(refused(Access::read), "") << written;
    const auto opened = open();
    EXPECT_EQ(read_revocations_file(paths().revocations()).sequence, 1) << written;
    EXPECT_EQ(opened.audit().records(), 3U) << written;
    EXPECT_EQ(opened.owner().registry.records, 3U) << written;
    opened.audit().check(opened.owner().public_key, "audit.log");
  }
}

// What cannot be written or never be used is refused before a serial is given to it.
TEST_F(OwnerFiles, RecordNoKeyThatCannotBe) {
  const auto refused_for = [&](const std::filesystem::path& out, std::int64_t from, std::int64_t to) {
    return refusal([&] {
      auto opened = open();
      issue_keys(opened, {{.name = "ann", .not_before = from, .not_after = to, .out = out, .seal = {}}}, noon);
    });
  };
  put(folder / "file", "");
  EXPECT_THAT(refused_for(folder / "nowhere/ann.skk", noon, noon + 1),
              HasSubstr("is no folder that can be written to"));
  EXPECT_THAT(refused_for(folder / "file/ann.skk", noon, noon + 1), HasSubstr("is no folder that can be written to"));
  EXPECT_THAT(refused_for(key_file("ann"), noon - 2, noon - 1), HasSubstr("2027-01-15 07:59:59 UTC, which is past"));
  EXPECT_THAT(refused_for(key_file("ann"), noon - 1, noon), HasSubstr("which is past"));
  EXPECT_THAT(refused_for(key_file("ann"), -1, noon + 1), HasSubstr("outside of the years 1970 to 9999"));
  EXPECT_EQ(open(Access::read).registry().records().size(), 0U);
  EXPECT_EQ(refused_for(key_file("ann"), noon - 1, noon + 1), "");
}

// A serial gives one key. Where that is not good enough, nothing could ever be issued again.
TEST_F(OwnerFiles, DrawAgainWhatFailsItsTrial) {
  const std::vector<IssueRequest> ann{
      {.name = "ann", .not_before = noon, .not_after = noon + 1, .out = key_file("ann"), .seal = {}}};
  std::vector<Digest> tried;
  const auto refuse = [&](std::size_t count) {
    tried.clear();
    auto opened = open();
    issue_keys(opened, ann, noon, [&](const UserKey& key) -> std::string {
      tried.push_back(key.key_digest);
      return tried.size() > count ? "" : "it answers little";
    });
  };
  EXPECT_ERROR(refuse(most_draws), ExitCode::run_failed,
               HasSubstr("it answers little, and so do 15 others that were drawn for it: nothing has been issued"));
  EXPECT_EQ(tried.size(), std::size_t{most_draws});
  EXPECT_EQ(std::set<Digest>(tried.begin(), tried.end()).size(), tried.size()) << "the same key twice";
  EXPECT_EQ(open(Access::read).registry().records().size(), 0U);
  refuse(2);
  const auto opened = open(Access::read);
  const auto file = read_user_key_file(key_file("ann"));
  EXPECT_EQ(file.key.key_digest, tried[2]);
  EXPECT_EQ(opened.registry().key(1).key_digest, tried[2]);
  const auto again = key_vectors(opened.owner(), issuer_of(opened.owner()), opened.registry().alphas(1), 1);
  EXPECT_TRUE(same_secret(again.bytes(), file.key.vectors.bytes())) << "the registry has the coefficients of the file";
}

// The serial of a key whose file was never written is not given again.
TEST_F(OwnerFiles, NeverGiveASerialTwice) {
  const auto too_long = folder / std::string(255, 'x');  // for the temporary file that is written first
  {
    auto opened = open();
    EXPECT_THROW(
        issue_keys(opened, {{.name = "ann", .not_before = noon, .not_after = noon + 1, .out = too_long, .seal = {}}},
                   noon),
        Error);
  }
  issue("bob");
  EXPECT_EQ(read_user_key_file(key_file("bob")).key.serial, 2U);
  EXPECT_EQ(open(Access::read).registry().key(1).name, "ann");
}

TEST_F(OwnerFiles, AreNotReachedThroughLinks) {
  put(folder / "elsewhere", "old");
  std::filesystem::create_symlink(folder / "elsewhere", key_file("ann"));
  EXPECT_THAT(refusal([&] { issue("ann"); }), HasSubstr("exists already"));
  EXPECT_THAT(refusal([&] { write_secret_durably(key_file("ann"), {}); }), HasSubstr("it is a symbolic link"));
  EXPECT_EQ(content_of(folder / "elsewhere"), "old");
  std::filesystem::rename(paths().owner(), folder / "owner.sks");
  std::filesystem::create_symlink(folder / "owner.sks", paths().owner());
  EXPECT_THAT(refused(), HasSubstr("it is a symbolic link"));
}

TEST_F(OwnerFiles, HaveOneWriterAtATime) {
  const auto first = open();
  EXPECT_THAT(refused(Access::write), HasSubstr("another command is at work in this folder"));
  EXPECT_EQ(refused(Access::read), "");
}

TEST_F(OwnerFiles, AreMadeWholeOrNotAtAll) {
  EXPECT_THAT(refusal([&] { make("owner"); }), HasSubstr("exists already"));
  const OwnerPaths paths{folder / "half"};
  const auto killed = [](const OwnerPaths& unfinished, const Owner&) {
    put(unfinished.model(), "model");
    throw std::runtime_error("killed");
  };
  EXPECT_THROW(OwnerFolder::create(paths, small_owner(), secret("correct horse"), cheap, noon, killed),
               std::runtime_error);
  EXPECT_FALSE(std::filesystem::exists(paths.root));
  EXPECT_THAT(refusal([&] { OwnerFolder(paths, secret("correct horse"), Access::read, noon); }),
              HasSubstr("no owner.sks there"));
  make("half");
  EXPECT_FALSE(std::filesystem::exists(paths.model()));
  EXPECT_FALSE(std::filesystem::exists(folder / "half.tmp"));
}

}  // namespace
}  // namespace spankey::test::owner_folder_test
