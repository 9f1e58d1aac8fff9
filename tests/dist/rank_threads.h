// Runs a function as several ranks, each a thread of this process.
#pragma once

#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include "dist/communicator.h"
#include "support/thread_communicator.h"

namespace spankey::test {

// The exception of each rank, null where there was none. A rank that throws wakes the others, as a program would.
inline std::vector<std::exception_ptr> run_ranks_catching(int size, const std::function<void(Communicator&)>& body,
                                                          double timeout_seconds = 30) {
  auto communicators = make_thread_communicators(size, timeout_seconds);
  std::vector<std::exception_ptr> failures(communicators.size());
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < communicators.size(); ++rank)
    threads.emplace_back([&, rank] {
      try {
        body(*communicators[rank]);
      } catch (...) {
        failures[rank] = std::current_exception();
        try {
          communicators[rank]->abort(3);
        } catch (const std::exception&) {
        }
      }
    });
  for (auto& thread : threads) thread.join();
  return failures;
}

inline void run_ranks(int size, const std::function<void(Communicator&)>& body) {
  for (const auto& failure : run_ranks_catching(size, body))
    if (failure) std::rethrow_exception(failure);
}

inline std::string message_of(const std::exception_ptr& failure) {
  if (!failure) return "(no exception)";
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace spankey::test
