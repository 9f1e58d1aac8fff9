#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <H5public.h>
#include <mpi.h>
#include <torch/version.h>
#include <unistd.h>

#include "base/version.h"
#include "cli/command.h"

namespace spankey::cli {

std::string version_text() {
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(mpi, &length);
  const std::string mpi_text(mpi, static_cast<std::size_t>(length));
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("spankey {}\nLibTorch {}\nMPI {}\nHDF5 {}.{}.{}\nCUDA module not found", program_version(),
                     TORCH_VERSION, mpi_text.substr(0, mpi_text.find(',')), major, minor, release);
}

void add_devices(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("devices", "List what networks can run on here");
  command->callback([&action] {
    action = [] {
      fmt::print("cpu   {} cores, {}\ncuda  none: this program was built without its CUDA module\n",
                 sysconf(_SC_NPROCESSORS_ONLN), at::get_cpu_capability());
      return ExitCode::done;
    };
  });
}

}  // namespace spankey::cli
