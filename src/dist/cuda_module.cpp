#include "dist/cuda_module.h"

#include <c10/util/Exception.h>
#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <exception>
#include <filesystem>
#include <system_error>

#include "base/error.h"
#include "base/process.h"
#include "base/version.h"

namespace spankey {
namespace {

namespace fs = std::filesystem;

struct Opened {
  CudaModule* module = nullptr;
  std::string why_not;
};

// Messages of LibTorch end with dozens of frames, which would hide the first line.
std::string reason_of(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  const std::string text = torch ? torch->what_without_backtrace() : error.what();
  return text.substr(0, text.find('\n'));
}

std::string loader_error() {
  const char* text = dlerror();
  return text ? text : "unknown reason";
}

fs::path module_file() {
  const auto folder = program_path().parent_path();
  // Beside the program in a build, where CMake installs libraries otherwise, and in ../lib in a bundle.
  for (const auto& file : std::array{folder / "libspankey_cuda.so", folder / SPANKEY_LIBRARIES "/libspankey_cuda.so",
                                     folder / "../lib/libspankey_cuda.so"})
    if (fs::exists(file)) return file;
  return {};
}

Opened open_module() {
  const auto file = module_file();
  if (file.empty())
    return {nullptr,
            "this program was built without its CUDA module, libspankey_cuda.so (launch/setup builds it where "
            "nvcc is found)"};
  // Registers ATen's CUDA back end. It must therefore be opened before the first query for a GPU. Both stay open for
  // ever, because the dispatcher refers to their static objects.
  if (!dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL))
    return {nullptr, loader_error() + " (launch/setup --with-cuda installs the full wheel)"};
  void* handle = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) return {nullptr, "the CUDA module cannot be opened: " + loader_error()};
  const auto version = reinterpret_cast<detail::CudaModuleVersion>(dlsym(handle, detail::cuda_module_version_symbol));
  const auto get = reinterpret_cast<detail::CudaModuleGet>(dlsym(handle, detail::cuda_module_symbol));
  if (!version || !get) return {nullptr, file.string() + " is no CUDA module of this program"};
  if (version() != program_version())
    return {nullptr, fmt::format("the CUDA module is of version {}, the program of {}", version(), program_version())};
  auto* module = get();
  for (const auto& device : module->devices())
    if (!detail::has_code_for(module->architectures(), device.major, device.minor))
      return {nullptr,
              fmt::format("{} has compute capability {}.{}, the CUDA module was built for {} (launch/setup -- "
                          "-DCMAKE_CUDA_ARCHITECTURES=... builds it for others, CUDA_VISIBLE_DEVICES hides a GPU)",
                          device.name, device.major, device.minor, module->architectures())};
  return {module, ""};
}

}  // namespace

CudaModule* open_cuda_module(std::string& why_not) {
  static const Opened opened = [] {
    try {
      return open_module();
    } catch (const std::exception& error) {
      return Opened{nullptr, reason_of(error)};
    }
  }();
  why_not = opened.why_not;
  return opened.module;
}

bool detail::has_code_for(std::string_view architectures, int major, int minor) {
  const int wanted = 10 * major + minor;
  while (!architectures.empty()) {
    const auto word = architectures.substr(0, architectures.find(','));
    architectures.remove_prefix(std::min(architectures.size(), word.size() + 1));
    int built = 0;
    const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), built);
    if (error != std::errc{}) return true;
    const std::string_view kind(rest, word.data() + word.size());
    const bool same_generation = built / 10 == major && built <= wanted;
    const bool compiles = built <= wanted && !kind.ends_with("-real") && !kind.starts_with('a');
    if ((same_generation && !kind.ends_with("-virtual")) || compiles) return true;
  }
  return false;
}

int choose_device(int node_rank, int devices) {
  SPANKEY_CHECK_OP(devices, >, 0);
  return node_rank % devices;
}

}  // namespace spankey
