// An owner's commands that are killed at any call by which they change the disk: every file stays readable, and the
// next command goes on from what the registry says.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "faults/injector.h"
#include "keyring/issue.h"
#include "keyring/valid_key.h"
#include "support/temporary_folder.h"

namespace spankey::test::keys_test {
namespace {

constexpr Argon2Cost cheap{.passes = 1, .memory_bytes = 8192};
constexpr std::int64_t now = 1'800'000'000;

class KilledCommands : public testing::Test {
 protected:
  OwnerPaths paths() const { return {folder / "owner"}; }
  std::filesystem::path key_file(int number) const { return folder / (std::to_string(number) + ".skk"); }

  OwnerFolder open(OwnerFolder::Access access = OwnerFolder::Access::write) const {
    const std::string text = "correct horse";
    return {paths(), SecretBytes::copy_of(std::as_bytes(std::span(text))), access, now};
  }

  // An owner of one key.
  void prepare() const {
    std::filesystem::remove_all(paths().root);
    for (int number = 1; number < 4; ++number) std::filesystem::remove(key_file(number));
    Owner owner;
    owner.model_id = std::string(64, 'a');
    owner.key.m = 2;
    owner.sites = {{.point = 0, .width = 40}};
    owner.basis = secret_basis(make_basis(owner.key, {40}, 7));
    owner.master_secret = SecretBytes::random(32);
    owner.signing_seed = SecretBytes::random(32);
    owner.public_key = owner.signing_key().public_key();
    const std::string text = "correct horse";
    OwnerFolder::create(paths(), std::move(owner), SecretBytes::copy_of(std::as_bytes(std::span(text))), cheap, now);
    issue(1);
  }

  void issue(int number) const {
    auto opened = open();
    issue_keys(opened, {{.name = "Ann", .not_before = now, .not_after = now + 1, .out = key_file(number), .seal = {}}},
               now);
  }

  // The work that is killed: a second key, and the first one revoked.
  void issue_and_revoke() const {
    issue(2);
    auto opened = open();
    auto changed = opened.registry().copy();
    changed.revoke(1, "lost", now);
    opened.commit(std::move(changed), now);
  }

  bool killed_at(std::int64_t at, faults::Action action) const {
    const pid_t child = fork();
    if (child == 0) {
      faults::arm({.prefix = folder.path().string(), .at = at, .action = action});
      issue_and_revoke();
      faults::disarm();
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }

  // The files are whole before anything is mended, and agree after the next command that writes.
  void expect_in_order(std::int64_t at) const {
    std::uint64_t serials = 0;
    std::int64_t sequence = 0;
    {
      const auto looked_at = open(OwnerFolder::Access::read);
      serials = looked_at.registry().next_serial();
      read_revocations_file(paths().revocations());
    }
    {
      const auto mended = open();
      sequence = mended.registry().revocations(mended.owner(), now).sequence;
      EXPECT_EQ(mended.audit().records(), mended.registry().records().size()) << "call " << at;
      EXPECT_EQ(mended.owner().next_serial, serials) << "call " << at;
    }
    EXPECT_EQ(read_revocations_file(paths().revocations()).sequence, sequence) << "call " << at;
    if (std::filesystem::exists(key_file(2))) {
      EXPECT_EQ(read_user_key_file(key_file(2)).key.serial, 2U) << "call " << at;
      EXPECT_GE(serials, 3U) << "call " << at << ": a key that no registry knows";
    }
    issue(3);
    EXPECT_EQ(read_user_key_file(key_file(3)).key.serial, serials) << "call " << at;
  }

  TemporaryFolder folder;
};

TEST_F(KilledCommands, LeaveFilesThatCanBeRead) {
  prepare();
  faults::arm({.prefix = folder.path().string()});
  issue_and_revoke();
  const auto points = faults::disarm();
  EXPECT_GT(points, 40);
  // A call that is torn has done its work, or half of it: the state before the next call, or between two.
  for (std::int64_t at = 1; at <= points; ++at) {
    prepare();
    // The lease's own thread makes calls as well, so that the last ones may not be reached.
    const bool killed = killed_at(at, at % 2 == 0 ? faults::Action::torn : faults::Action::kill);
    EXPECT_TRUE(killed || at > points / 2) << "call " << at << " was not reached";
    expect_in_order(at);
  }
}

}  // namespace
}  // namespace spankey::test::keys_test
