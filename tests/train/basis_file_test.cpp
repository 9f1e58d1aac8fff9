#include "train/basis_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::basis_file_test {
namespace {

const std::vector<std::int64_t> dims = {60, 201};

KeyConfig config() {
  KeyConfig config;
  config.layers = {0, 2};
  return config;
}

TEST(BasisFile, ComesBackAsItWas) {
  const test::TemporaryFolder folder;
  const auto basis = make_basis(config(), dims, 42);
  save_basis(basis, folder / "basis.h5");
  const auto loaded = load_basis(folder / "basis.h5", config().m, dims);
  EXPECT_EQ(basis_digest(loaded), basis_digest(basis));
  EXPECT_NE(basis_digest(loaded), basis_digest(make_basis(config(), dims, 43)));
}

// With the mode asked for from its first moment: the umask is not what keeps it from others, nor does a temporary that
// others could read, left by a crash, hand its mode on.
TEST(BasisFile, IsNeverReadableForOthers) {
  const test::TemporaryFolder folder;
  const auto basis = make_basis(config(), dims, 42);
  const auto path = folder / "basis.h5";
  const std::string temporary = path.string() + ".tmp";
  const auto mode = [](const std::string& name) {
    struct stat status {};
    return stat(name.c_str(), &status) == 0 ? status.st_mode & 0777U : 0U;
  };
  const mode_t before = umask(0);
  std::ofstream(temporary) << "left by a crash";
  EXPECT_EQ(mode(temporary), 0666U) << "the control: what a file gets that asks for no mode";
  save_basis(basis, path);
  std::atomic<bool> written = false;
  std::int64_t seen = 0, open_to_others = 0;
  std::thread watcher([&] {
    while (!written)
      for (const auto found : {mode(temporary), mode(path.string())}) {
        seen += found != 0;
        open_to_others += (found & 0077U) != 0;
      }
  });
  for (int i = 0; i < 20; ++i) save_basis(basis, path);
  written = true;
  watcher.join();
  umask(before);
  EXPECT_GT(seen, 0);
  EXPECT_EQ(open_to_others, 0);
  EXPECT_EQ(mode(path.string()), 0600U);
}

TEST(BasisFile, OfAnotherShapeThanConfiguredIsRefused) {
  const test::TemporaryFolder folder;
  const auto basis = make_basis(config(), dims, 42);
  const auto m = config().m;
  save_basis(basis, folder / "basis.h5");
  EXPECT_NO_THROW(load_basis(folder / "basis.h5", m, dims));
  auto wider = dims, more = dims;
  ++wider.back();
  more.push_back(dims.back());
  EXPECT_ERROR(load_basis(folder / "basis.h5", m, wider), ExitCode::bad_input, testing::HasSubstr("float32"));
  EXPECT_ERROR(load_basis(folder / "basis.h5", m + 1, dims), ExitCode::bad_input, testing::HasSubstr("float32"));
  EXPECT_ERROR(load_basis(folder / "basis.h5", m, more), ExitCode::bad_input, testing::HasSubstr("layers"));
}

TEST(BasisFile, ADamagedOneIsRefused) {
  const test::TemporaryFolder folder;
  save_basis(make_basis(config(), dims, 42), folder / "basis.h5");
  auto bytes = read_bytes(folder / "basis.h5");
  bytes[bytes.size() / 2] ^= std::byte{1};
  write_durably(folder / "basis.h5", bytes);
  EXPECT_ERROR(load_basis(folder / "basis.h5", config().m, dims), ExitCode::bad_input, testing::HasSubstr("damaged"));
}

}  // namespace
}  // namespace spankey::basis_file_test
