// An identifier that rank 0 makes for all ranks. NCCL needs one for each communicator.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "dist/communicator.h"

namespace spankey {

// Collective. Calls `make` on rank 0 only and returns its result, which is not empty, on every rank. If it throws
// there, every rank throws instead of waiting for an identifier that does not come. Rank 0 throws its own error, the
// others Error(run_failed).
std::vector<std::byte> share_id(Communicator& host, const std::function<std::vector<std::byte>()>& make);

}  // namespace spankey
