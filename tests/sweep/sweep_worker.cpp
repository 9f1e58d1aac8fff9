// A worker of the local executor over dummy trials, as a process that a test can kill:
// sweep_worker DIR DUMMY_TRIAL exclusive|none
#include <string>

#include "base/error.h"
#include "base/shutdown.h"
#include "sweep/local_executor.h"
#include "sweep/sweep.h"

int main(int argc, char** argv) {
  using namespace spankey;
  if (argc != 4) return 2;
  const std::filesystem::path directory = argv[1];
  const std::string dummy = argv[2];
  const auto plan = load_plan(directory);
  Ledger ledger(plan.store, std::string(argv[3]) == "none" ? Claims::none : Claims::exclusive);
  shutdown::install_handlers();
  reopen_failed(plan, ledger, RetryFailed::crashed);
  const auto command = [&](const PlannedTrial& trial) {
    return std::vector<std::string>{dummy, (directory / "completions").string(),
                                    ledger.run_directory(trial.id).root.string(), trial.hash};
  };
  return static_cast<int>(run_local(plan, ledger, command, {.directory = directory}));
}
