// An identifier that rank 0 makes for all ranks, as NCCL wants one for each communicator.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "dist/communicator.h"

namespace spankey {

// Collective. What `make` returns on rank 0, where alone it is called; not empty. If it throws there, every rank
// throws: rank 0 its error, the others Error(run_failed), instead of waiting for an identifier that does not come.
std::vector<std::byte> share_id(Communicator& host, const std::function<std::vector<std::byte>()>& make);

}  // namespace spankey
