#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <H5public.h>
#include <mpi.h>
#include <torch/version.h>
#include <unistd.h>

#include "base/version.h"
#include "cli/command.h"
#include "dist/cuda_module.h"

namespace spankey::cli {
namespace {

std::string cuda_text() {
  std::string why_not;
  const auto* module = open_cuda_module(why_not);
  return module ? module->version() : "CUDA not available: " + why_not;
}

// One line for each GPU, or one that says why there is none.
void print_gpus() {
  constexpr double gib = 1024.0 * 1024.0 * 1024.0;
  std::string why_not;
  const auto* module = open_cuda_module(why_not);
  if (!module) {
    fmt::print("cuda  none: {}\n", why_not);
    return;
  }
  int index = 0;
  for (const auto& device : module->devices())
    fmt::print("cuda  {}: {}, {:.1f} GiB, compute capability {}.{}\n", index++, device.name,
               static_cast<double>(device.memory_bytes) / gib, device.major, device.minor);
}

}  // namespace

std::string version_text() {
  char mpi[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(mpi, &length);
  const std::string mpi_text(mpi, static_cast<std::size_t>(length));
  unsigned major = 0, minor = 0, release = 0;
  H5get_libversion(&major, &minor, &release);
  return fmt::format("spankey {}\nLibTorch {}\nMPI {}\nHDF5 {}.{}.{}\n{}", program_version(), TORCH_VERSION,
                     mpi_text.substr(0, mpi_text.find(',')), major, minor, release, cuda_text());
}

void add_devices(CLI::App& app, Action& action) {
  auto* command = app.add_subcommand("devices", "List what networks can run on here");
  command->callback([&action] {
    action = [] {
      fmt::print("cpu   {} cores, {}\n", sysconf(_SC_NPROCESSORS_ONLN), at::get_cpu_capability());
      print_gpus();
      return ExitCode::done;
    };
  });
}

}  // namespace spankey::cli
