#include "dist/backend.h"

#include <array>
#include <cstdlib>
#include <string_view>

#include "config/names.h"
#include "dist/mpi_communicator.h"
#include "dist/self_communicator.h"

namespace spankey {
namespace {

struct BackendEntry {
  std::string_view name;
  std::unique_ptr<Communicator> (*make)(double timeout_seconds);
};

constexpr std::array backends{
    BackendEntry{"self", make_self_communicator},
    BackendEntry{"mpi", make_mpi_communicator},
};

}  // namespace

std::unique_ptr<Communicator> make_communicator(Backend backend, double timeout_seconds) {
  // NCCL comes on top of a host communicator, once a GPU has been chosen.
  const auto host = backend == Backend::nccl ? Backend::auto_ : backend;
  const auto wanted = resolve_backend(host, [](const char* name) -> const char* { return std::getenv(name); });
  return find_named(backends, to_string(wanted), "dist.backend =").make(timeout_seconds);
}

Backend resolve_backend(Backend backend, const EnvironmentVariable& variable) {
  if (backend != Backend::auto_) return backend;
  return read_launch(variable).origin.empty() ? Backend::self : Backend::mpi;
}

}  // namespace spankey
