#include "dist/on_all_ranks.h"

#include <ATen/ops/full.h>

namespace spankey {

void agree_on_outcome(Communicator& communicator, const Error* mine) {
  const auto code = static_cast<std::int64_t>(mine ? mine->code() : ExitCode::done);
  const auto codes = communicator.all_gather(at::full({1}, code, at::kLong));
  const auto* all = codes.const_data_ptr<std::int64_t>();
  for (int rank = 0; rank < communicator.size(); ++rank) {
    if (all[rank] == static_cast<std::int64_t>(ExitCode::done)) continue;
    std::string message;
    if (rank == communicator.rank())
      message = rank == 0 ? mine->what() : fmt::format("rank {}: {}", rank, mine->what());
    throw AgreedError(static_cast<ExitCode>(all[rank]), message);
  }
}

}  // namespace spankey
