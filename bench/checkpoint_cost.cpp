// Measures what a checkpoint costs the run. `bench_checkpoint_cost CHECKPOINT FOLDER` prints one JSON line with medians
// of 200, in milliseconds.
//
//   load         read the file, check it, read its tensors
//   checksum     the CRC32C of the whole file, which is part of that
//   snapshot     copies of all tensors, for which a step waits
//   handed_over  CheckpointWriter::save with nothing in flight, for which a step waits too
//   commit       encode, write, fsync and rename, on the helper thread
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/sealed_file.h"
#include "base/statistics.h"
#include "bench/bench_main.h"
#include "train/checkpoint_writer.h"

namespace spankey {
namespace {

void run(const std::filesystem::path& file, const std::filesystem::path& folder) {
  constexpr int rounds = 200;
  std::filesystem::create_directories(folder);
  CheckpointWriter writer(folder, /*keep=*/1, /*async=*/true);
  Checkpoint live;
  std::vector<double> load, checksum, copying, handed_over, commit;
  std::size_t size = 0;
  for (int round = 0; round < rounds; ++round) {
    std::vector<std::byte> bytes;
    load.push_back(milliseconds([&] {
      bytes = read_bytes(file);
      live = decode_checkpoint(bytes, file.string());
    }));
    size = bytes.size();
    checksum.push_back(milliseconds([&] { checked_image(bytes, file.string()); }));
    Checkpoint copy;
    copying.push_back(milliseconds([&] { copy = snapshot(live); }));
    copy.cursor.global_step = round + 1;
    handed_over.push_back(milliseconds([&] { writer.save(std::move(copy)); }));
    writer.finish();
    commit.push_back(1e3 * writer.last_seconds());
  }
  const double load_ms = quantile(load, 0.5), checksum_ms = quantile(checksum, 0.5);
  const nlohmann::json line{{"bytes", size},
                            {"load_ms", load_ms},
                            {"checksum_ms", checksum_ms},
                            {"checksum_share", checksum_ms / load_ms},
                            {"snapshot_ms", quantile(copying, 0.5)},
                            {"handed_over_ms", quantile(handed_over, 0.5)},
                            {"commit_ms", quantile(commit, 0.5)}};
  fmt::print("{}\n", line.dump());
}

}  // namespace
}  // namespace spankey

int main(int argc, char** argv) {
  return spankey::exit_code_of("bench_checkpoint_cost", [&] {
    if (argc != 3) spankey::fail_input("usage: bench_checkpoint_cost CHECKPOINT FOLDER");
    spankey::run(argv[1], argv[2]);
  });
}
