// Work that every rank does at once and that may fail on any of them.
#pragma once

#include <type_traits>
#include <utility>

#include "base/error.h"
#include "dist/communicator.h"

namespace spankey {

// Compares the outcome of all ranks. Returns where all succeeded. Otherwise every rank throws AgreedError with the exit
// code of the lowest failing rank, which alone carries its message.
void agree_on_outcome(Communicator& communicator, const Error* mine);

// Runs `work` on this rank and agrees on its outcome with the others.
template <class Work>
std::invoke_result_t<Work> on_all_ranks(Communicator& communicator, Work&& work) {
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<Work>>) {
      std::forward<Work>(work)();
      agree_on_outcome(communicator, nullptr);
    } else {
      auto result = std::forward<Work>(work)();
      agree_on_outcome(communicator, nullptr);
      return result;
    }
  } catch (const AgreedError&) {
    throw;
  } catch (const Error& error) {
    agree_on_outcome(communicator, &error);
    throw;  // not reached, because agree_on_outcome() throws where any rank failed
  }
}

}  // namespace spankey
