#include "cli/network_command.h"

#include <utility>

#include "dist/on_all_ranks.h"
#include "keyring/model_file.h"
#include "train/loaded_run.h"

namespace spankey::cli {

Config config_of_network(const std::filesystem::path& run_or_file, const std::vector<std::string>& overrides) {
  if (std::filesystem::is_directory(run_or_file)) return run_config(RunDirectory{run_or_file}, overrides);
  return {};
}

std::shared_ptr<const InitialWeights> read_weights(const std::string& file, Communicator& communicator) {
  if (file.empty()) return nullptr;
  std::vector<std::byte> bytes;
  on_all_ranks(communicator, [&] {
    if (communicator.rank() == 0) bytes = read_model_bytes(file);
  });
  bytes = communicator.broadcast_bytes(bytes, 0);
  return on_all_ranks(communicator, [&] {
    return std::make_shared<const InitialWeights>(InitialWeights{file, weights_in(bytes, file)});
  });
}

}  // namespace spankey::cli
