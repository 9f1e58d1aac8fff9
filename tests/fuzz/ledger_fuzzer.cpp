// The readers of what a sweep keeps of a trial. The first byte of the input says which of its files it becomes.
#include <array>
#include <chrono>

#include "base/error.h"
#include "base/log.h"
#include "fuzz/fuzzer.h"
#include "record/ledger.h"

namespace {

using spankey::test::scratch;

constexpr const char* id = "trial";

const std::array<std::filesystem::path, 4>& files() {
  static const std::array<std::filesystem::path, 4> all{
      scratch() / id / "sweep/state.json", scratch() / id / "sweep/lease", scratch() / id / "sweep/attempt",
      spankey::RunDirectory{scratch() / id}.result()};
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  std::filesystem::create_directories(scratch() / id / "sweep");
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto which = data[0] % files().size();
  spankey::test::put(files()[which], {data + 1, size - 1});
  const spankey::Ledger ledger(scratch());
  try {
    ledger.read(id);
    if (which == 3) ledger.has_result({.id = id, .hash = "hash", .settings = {}, .label = ""});
    if (which == 2) spankey::Lease(scratch() / id / "sweep", std::chrono::milliseconds(0));
  } catch (const spankey::Error&) {
  }
  std::filesystem::remove(files()[which]);
  return 0;
}
