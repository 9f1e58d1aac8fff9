#include "dist/cuda_module.h"

#include <dlfcn.h>

#include <array>
#include <exception>
#include <filesystem>

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

std::string loader_error() {
  const char* text = dlerror();
  return text ? text : "unknown reason";
}

fs::path module_file() {
  const auto folder = program_path().parent_path();
  for (const auto& file : std::array{folder / "libspankey_cuda.so", folder / "../lib/libspankey_cuda.so",
                                     folder / "../lib64/libspankey_cuda.so"})
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
  if (module->devices().empty()) return {nullptr, "no GPU or no NVIDIA driver is visible to this process"};
  return {module, ""};
}

}  // namespace

CudaModule* open_cuda_module(std::string& why_not) {
  static const Opened opened = [] {
    try {
      return open_module();
    } catch (const std::exception& error) {
      return Opened{nullptr, error.what()};
    }
  }();
  why_not = opened.why_not;
  return opened.module;
}

int choose_device(int node_rank, int devices) {
  SPANKEY_CHECK_OP(devices, >, 0);
  return node_rank % devices;
}

}  // namespace spankey
