// A rotation that is killed at any call by which it changes the disk: the owner's folder is always whole, of the old
// model or of the new one, and the same command goes on to the end.
#include "keyring/rotation.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "faults/injector.h"
#include "keyring/owner_folder.h"
#include "keyring/secret_file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::test::rotation_test {
namespace {

const std::string old_model(64, 'a'), new_model(64, 'b'), older_model(64, 'c');
constexpr Argon2Cost cheap{.passes = 1, .memory_bytes = 8192};

SecretBytes passphrase() {
  const std::string text = "correct horse";
  return SecretBytes::copy_of(std::as_bytes(std::span(text)));
}

void create_owner(const std::filesystem::path& root, const std::string& model_id) {
  Owner owner;
  owner.model_id = model_id;
  owner.key.m = 2;
  owner.sites = {{.point = 0, .width = 40}};
  owner.basis.push_back(SecretBytes(2 * 40 * sizeof(float)));
  owner.master_secret = SecretBytes::random(32);
  owner.signing_seed = SecretBytes::random(32);
  owner.public_key = owner.signing_key().public_key();
  OwnerFolder::create({root}, std::move(owner), passphrase(), cheap, 1'800'000'000,
                      [](const OwnerPaths& paths, const Owner&) { std::ofstream(paths.model()) << "weights"; });
}

std::string model_in(const std::filesystem::path& root) {
  return read_owner_header_of({root}).model_id;
}

void prepare(const std::filesystem::path& folder) {
  std::filesystem::remove_all(folder / "owner");
  std::filesystem::remove_all(folder / "owner.rotation");
  create_owner(folder / "owner", old_model);
  make_secret_folder(folder / "owner/retired");
  create_owner(folder / "owner/retired" / older_model.substr(0, 16), older_model);
}

// The files of a rotation, as the command makes them around its training.
void rotate(const std::filesystem::path& folder) {
  const Rotation rotation(folder / "owner");
  const auto model = model_in(folder / "owner");
  const auto stage = rotation.stage(model);
  if (stage == Rotation::Stage::none && model == new_model) return;  // nothing was left to do
  if (stage != Rotation::Stage::switched) {
    rotation.begin(old_model);
    std::filesystem::create_directories(rotation.run());
    std::ofstream(rotation.run() / "basis") << "secret";
    rotation.clear_next();
    create_owner(rotation.next(), new_model);
    rotation.publish();
  }
  rotation.finish();
}

bool finished(const std::filesystem::path& folder) {
  const auto retired = folder / "owner/retired";
  return model_in(folder / "owner") == new_model && model_in(retired / old_model.substr(0, 16)) == old_model &&
         model_in(retired / older_model.substr(0, 16)) == older_model &&
         !std::filesystem::exists(folder / "owner.rotation");
}

// Whether the child was killed.
bool rotate_with_fault(const std::filesystem::path& folder, std::int64_t at, faults::Action action) {
  const pid_t child = fork();
  if (child == 0) {
    faults::arm({.prefix = folder.string(), .at = at, .action = action});
    rotate(folder);
    faults::disarm();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

TEST(Rotation, GoesOnWhereverItWasKilled) {
  const TemporaryFolder folder;
  prepare(folder.path());
  faults::arm({.prefix = folder.path().string()});
  rotate(folder.path());
  const auto points = faults::disarm();
  EXPECT_TRUE(finished(folder.path()));
  EXPECT_GT(points, 30);
  std::int64_t before = 0, after = 0;
  for (std::int64_t at = 1; at <= points; ++at)
    for (const auto action : {faults::Action::kill, faults::Action::torn}) {
      prepare(folder.path());
      ASSERT_TRUE(rotate_with_fault(folder.path(), at, action)) << "call " << at;
      const auto model = model_in(folder / "owner");
      EXPECT_TRUE(model == old_model || model == new_model) << "call " << at;
      ++(model == old_model ? before : after);
      rotate(folder.path());
      EXPECT_TRUE(finished(folder.path())) << "call " << at;
    }
  EXPECT_GT(before, 10);
  EXPECT_GT(after, 4);
}

TEST(Rotation, AnotherModelsRotationIsRefused) {
  const TemporaryFolder folder;
  prepare(folder.path());
  const Rotation rotation(folder / "owner");
  rotation.begin(std::string(64, 'd'));
  EXPECT_ERROR(rotation.stage(old_model), ExitCode::bad_input, testing::HasSubstr("is a rotation of the model dddd"));
  rotation.discard();
  EXPECT_EQ(rotation.stage(old_model), Rotation::Stage::none);
}

}  // namespace
}  // namespace spankey::test::rotation_test
