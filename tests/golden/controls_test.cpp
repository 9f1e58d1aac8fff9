// Negative controls: this program's other tests, run on golden files that they must not accept.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <filesystem>
#include <string>
#include <vector>

#include "support/program.h"
#include "support/temporary_folder.h"

namespace spankey::controls_test {
namespace {

using test::TemporaryFolder;
using testing::HasSubstr;

const std::vector<std::string> kinds = {"keys", "injection", "deny", "eval", "models", "train"};

// What the tests of the files of these kinds say about those in `folder`.
test::Outcome run_golden(const TemporaryFolder& folder, const std::vector<std::string>& which,
                         const std::vector<std::string>& options = {}) {
  std::vector<std::string> command{"env", "SPANKEY_GOLDEN_DIR=" + folder.path().string(),
                                   std::filesystem::read_symlink("/proc/self/exe").string()};
  for (const auto& kind : which) command.push_back(kind + "_test");
  command.insert(command.end(), options.begin(), options.end());
  return test::run(command, folder.path());
}

// Always the files of the source tree: this is about the tests, whatever files they are given elsewhere.
std::filesystem::path copy_of(const std::string& kind, const TemporaryFolder& folder) {
  const std::string name = kind + ".h5";
  std::filesystem::copy_file(std::filesystem::path(SPANKEY_GOLDEN_SOURCE) / name, folder / name);
  return folder / name;
}

// By HDF5 itself: base/hdf5_file.h changes no file.
void add_attribute(const std::filesystem::path& path, const char* name) {
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  ASSERT_GE(file, 0) << path;
  const hid_t space = H5Screate(H5S_SCALAR);
  const hid_t attribute = H5Acreate2(file, name, H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
  EXPECT_GE(attribute, 0) << path;
  H5Aclose(attribute);
  H5Sclose(space);
  ASSERT_GE(H5Fclose(file), 0) << path;
}

TEST(GoldenControls, UnchangedCopiesPass) {
  const TemporaryFolder folder;
  for (const char* kind : {"keys", "eval"}) copy_of(kind, folder);
  const auto outcome = run_golden(folder, {"keys", "eval"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.out << outcome.err;
  for (const char* test : {"KeysMatchTheReference", "EvaluationsMatchTheReference"})
    EXPECT_THAT(outcome.out, HasSubstr(fmt::format("OK ] Golden.{} ", test)));
}

TEST(GoldenControls, AMissingFileFails) {
  const TemporaryFolder folder;
  const auto outcome = run_golden(folder, kinds);
  EXPECT_EQ(outcome.exit_code, 1);
  for (const auto& kind : kinds)
    EXPECT_THAT(outcome.out, HasSubstr(fmt::format("cannot open {}", (folder / (kind + ".h5")).string())));
}

TEST(GoldenControls, AFileWithoutCasesFails) {
  const TemporaryFolder folder;
  for (const auto& kind : kinds) {
    const auto path = folder / (kind + ".h5");
    ASSERT_GE(H5Fclose(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT)), 0);
  }
  const auto outcome = run_golden(folder, kinds);
  EXPECT_EQ(outcome.exit_code, 1);
  for (const auto& kind : kinds) EXPECT_THAT(outcome.out, HasSubstr(kind + ".h5: no case was run"));
}

// The first failure ends the program: models and train would go on for longer than all of this.
TEST(GoldenControls, AnUnknownAttributeFails) {
  for (const auto& kind : kinds) {
    const TemporaryFolder folder;
    add_attribute(copy_of(kind, folder), "of_nobody");
    const auto outcome = run_golden(folder, {kind}, {"--gtest_throw_on_failure"});
    EXPECT_NE(outcome.exit_code, 0) << kind;
    EXPECT_THAT(outcome.out, HasSubstr("unknown attribute /@of_nobody")) << kind;
  }
}

}  // namespace
}  // namespace spankey::controls_test
