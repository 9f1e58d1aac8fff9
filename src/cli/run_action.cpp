#include <mpi.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <thread>

#include "base/command_line.h"
#include "base/launch.h"
#include "base/log.h"
#include "base/shutdown.h"
#include "base/standard_streams.h"
#include "cli/command.h"
#include "cli/failure.h"
#include "dist/backend.h"
#include "dist/communicator.h"
#include "dist/on_all_ranks.h"

namespace spankey::cli {
namespace {

// Every rank has the same error. Rank 0 reports it for all, and the launcher ends the others. One that is still there
// seconds later is the only one that knows.
void let_rank_0_speak() {
  if (read_launch().rank != 0) std::this_thread::sleep_for(std::chrono::seconds(5));
}

std::string mpi_library() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string_view version(text.data(), static_cast<std::size_t>(length));
  return std::string(version.substr(0, std::min(version.find(','), version.find('\n'))));
}

// Processes started by the launcher of another MPI do not find one another. Each would train alone, in the same folder.
void require_launcher_and_mpi_to_agree(Backend asked, const Communicator& communicator) {
  if (asked == Backend::self || communicator.size() > 1) return;
  if (const auto launch = read_launch(); launch.size > 1) {
    let_rank_0_speak();
    fail_input(
        "{}: the launcher has started {} processes, and {} sees 1: they do not belong together; accepted: the mpirun "
        "of "
        "this MPI, srun --mpi=pmix or pmi2, or dist.backend = \"self\" for runs of one process",
        launch.origin, launch.size, mpi_library());
  }
  const auto variable = [](const char* name) -> const char* { return std::getenv(name); };
  if (const auto tasks = unused_tasks(variable))
    log::warning("SLURM_NTASKS = {}, and this is one process: srun or mpirun would use the other tasks", *tasks);
}

// The command line from the first word that differs, with the flag it belongs to.
std::string differing_words(const std::vector<std::string>& words, std::size_t first) {
  constexpr std::size_t shown_words = 2;
  const std::size_t begin = first > 0 && words[first - 1].starts_with("--") ? first - 1 : first;
  std::string text;
  for (std::size_t i = begin; i < std::min(words.size(), begin + shown_words); ++i)
    text += (text.empty() ? "" : " ") + words[i];
  return text.empty() ? "nothing more" : "'" + text + "'";
}

// Two command lines in one launch would be two runs that take each other for ranks of one.
void require_one_command_line(Communicator& communicator) {
  if (communicator.size() == 1) return;
  const auto& mine = command_line::words();
  std::string text;
  for (const auto& word : mine) text += word + '\0';
  const auto rank_0 = communicator.broadcast_string(text, 0);
  on_all_ranks(communicator, [&] {
    if (rank_0 == text) return;
    std::vector<std::string> theirs;
    for (std::size_t begin = 0, end = 0; begin < rank_0.size(); begin = end + 1) {
      end = rank_0.find('\0', begin);
      theirs.push_back(rank_0.substr(begin, end - begin));
    }
    const auto differs = std::mismatch(theirs.begin(), theirs.end(), mine.begin(), mine.end());
    const auto first = static_cast<std::size_t>(differs.first - theirs.begin());
    fail_input("the ranks disagree on the command line: rank 0 has {}, this one {}; accepted: one run a launch",
               differing_words(theirs, first), differing_words(mine, first));
  });
}

ExitCode fail_alone(Communicator& communicator, const Failure& failure) {
  log::error("{}", communicator.size() > 1 ? fmt::format("rank {}: {}", communicator.rank(), failure.sentence)
                                           : failure.sentence);
  if (!failure.details.empty()) log::debug("{}", failure.details);
  log::flush();
  if (communicator.size() > 1) communicator.abort(static_cast<int>(failure.code));
  return failure.code;
}

}  // namespace

ExitCode with_communicator(const DistConfig& config, const std::function<ExitCode(Communicator&)>& work) {
  shutdown::install_handlers();  // so that an early request is not lost
  const auto communicator = make_communicator(config.backend, config.timeout_seconds);
  log::start(communicator->rank(), communicator->size());
  shutdown::install_handlers();  // after MPI, which sets its own handlers
  ExitCode code = ExitCode::run_failed;
  try {
    require_launcher_and_mpi_to_agree(config.backend, *communicator);
    require_one_command_line(*communicator);
    code = work(*communicator);
  } catch (const AgreedError& error) {
    if (*error.what() != '\0') log::error("{}", error.what());
    code = error.code();
  } catch (const std::exception& error) {
    code = fail_alone(*communicator, describe(error));
  }
  log::flush();
  return code;
}

ExitCode report_errors(const Action& action) {
  try {
    return action();
  } catch (const std::exception& error) {
    const auto failure = describe(error);
    let_rank_0_speak();
    standard_streams::complain("spankey: " + failure.sentence);
    return failure.code;
  }
}

}  // namespace spankey::cli
