#include "dist/shared_id.h"

#include <exception>

#include "base/error.h"

namespace spankey {

std::vector<std::byte> share_id(Communicator& host, const std::function<std::vector<std::byte>()>& make) {
  std::vector<std::byte> id;
  std::exception_ptr failure;
  if (host.rank() == 0) {
    try {
      id = make();
    } catch (...) {
      failure = std::current_exception();
    }
  }
  id = host.broadcast_bytes(id, /*root=*/0);
  if (failure) std::rethrow_exception(failure);
  if (id.empty()) fail_run("rank 0 could not make the identifier of a communicator");
  return id;
}

}  // namespace spankey
