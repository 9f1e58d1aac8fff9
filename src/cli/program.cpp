#include "cli/program.h"

#include <H5public.h>
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/version.h"

namespace spankey::cli {

void describe_program(CLI::App& app) {
  app.description("Trains networks that work only for holders of a key, and measures how well the lock holds.");
  app.name("spankey");
  app.option_defaults()->always_capture_default();
  app.set_version_flag("--version", version_text);
  app.require_subcommand(1);
  app.fallthrough();  // so that -q and -v may stand anywhere
  // The variable reaches the trials of a sweep as well.
  app.add_flag_callback(
      "-q,--quiet", [] { setenv("SPANKEY_LOG", "warning", 1); },
      "no progress and no notes, only warnings, errors and results");
  app.add_flag_callback(
      "-v,--verbose", [] { setenv("SPANKEY_LOG", "debug", 1); }, "details of errors as well");
  app.footer(
      "Exit codes: 0 done, 2 bad configuration or input, 3 run failed, 75 checkpointed and wants to be started "
      "again.\nspankey COMMAND --help tells more.\n\nExample: spankey train configs/demo.toml");
}

CLI::App* add_command(CLI::App& app, const std::string& name) {
  const auto is_it = [&](const Summary& summary) { return summary.command == name; };
  const auto summary = std::find_if(summaries.begin(), summaries.end(), is_it);
  SPANKEY_CHECK(summary != summaries.end());
  return app.add_subcommand(name, summary->text);
}

void end_help(CLI::App& command, const std::string& example, const std::string& notes) {
  command.footer(fmt::format("{}{}Example: spankey {}", notes, notes.empty() ? "" : "\n\n", example));
}

std::string version_text() {
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(mpi, &length);
  const std::string mpi_text(mpi, static_cast<std::size_t>(length));
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("spankey {}\nLibTorch {}\nMPI {}\nHDF5 {}.{}.{}\nCUDA {} (spankey devices: what works here)",
                     program_version(), SPANKEY_TORCH_VERSION, mpi_text.substr(0, mpi_text.find(',')), major, minor,
                     release, SPANKEY_CUDA_VERSIONS);
}

}  // namespace spankey::cli
