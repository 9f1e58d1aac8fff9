#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <unistd.h>

#include "cli/command.h"
#include "dist/cuda_module.h"

namespace spankey::cli {
namespace {

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

void add_devices(CLI::App& app, Action& action) {
  auto* command = add_command(app, "devices");
  end_help(*command, "devices");
  command->callback([&action] {
    action = [] {
      fmt::print("cpu   {} cores, {}\n", sysconf(_SC_NPROCESSORS_ONLN), at::get_cpu_capability());
      print_gpus();
      return ExitCode::done;
    };
  });
}

}  // namespace spankey::cli
