#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/log.h"
#include "base/shutdown.h"
#include "cli/command.h"
#include "dist/communicator.h"
#include "train/together.h"

namespace spankey::cli {
namespace {

ExitCode fail_alone(Communicator& communicator, ExitCode code, const std::string& message) {
  log::error("{}", communicator.size() > 1 ? fmt::format("rank {}: {}", communicator.rank(), message) : message);
  log::flush();
  if (communicator.size() > 1) communicator.abort(static_cast<int>(code));
  return code;
}

}  // namespace

int launcher_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})
    if (const char* value = std::getenv(name)) return std::atoi(value);
  return 0;
}

ExitCode with_communicator(const DistConfig& config, const std::function<ExitCode(Communicator&)>& work) {
  shutdown::install_handlers();  // a request that comes early is not lost
  const auto communicator = make_communicator(config.backend, config.timeout_seconds);
  log::start(communicator->rank(), communicator->size());
  shutdown::install_handlers();  // after MPI, which sets handlers of its own
  ExitCode code = ExitCode::run_failed;
  try {
    code = work(*communicator);
  } catch (const AgreedError& error) {
    if (*error.what() != '\0') log::error("{}", error.what());
    code = error.code();
  } catch (const Error& error) {
    code = fail_alone(*communicator, error.code(), error.what());
  } catch (const std::exception& error) {
    code = fail_alone(*communicator, ExitCode::run_failed, error.what());
  }
  log::flush();
  return code;
}

ExitCode report_errors(const Action& action) {
  try {
    return action();
  } catch (const Error& error) {
    // Every rank has read the same wrong file: rank 0 speaks for all, and the launcher ends the others. One that is
    // still there seconds later is the only one that knows.
    if (launcher_rank() != 0) std::this_thread::sleep_for(std::chrono::seconds(5));
    fmt::print(stderr, "spankey: {}\n", error.what());
    return error.code();
  } catch (const std::exception& error) {
    fmt::print(stderr, "spankey: rank {}: {}\n", launcher_rank(), error.what());
    return ExitCode::run_failed;
  }
}

}  // namespace spankey::cli
