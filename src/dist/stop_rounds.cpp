#include "dist/stop_rounds.h"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <utility>

namespace spankey {
namespace {

constexpr std::int64_t microseconds_between = 200'000;

std::string name_of(int signal) {
  const char* name = sigabbrev_np(signal);
  return name != nullptr ? fmt::format("SIG{}", name) : fmt::format("signal {}", signal);
}

}  // namespace

StopRounds::StopRounds(Communicator& communicator, Wish wish) : communicator_(communicator), wish_(std::move(wish)) {}

void StopRounds::next() {
  if (++rounds_ >= ask_after_) settle();
}

// How long the rounds took is agreed on with the wish: every rank has to come to the same number of rounds.
void StopRounds::settle() {
  const auto now = Clock::now();
  auto agreed = at::zeros({2}, at::kLong);
  auto* values = agreed.mutable_data_ptr<std::int64_t>();
  values[0] = wish_();
  values[1] = std::chrono::duration_cast<std::chrono::microseconds>(now - asked_).count();
  communicator_.all_reduce(agreed, ReduceOp::max);
  if (const auto signal = static_cast<int>(values[0]); signal != 0)
    throw Interrupted(
        static_cast<ExitCode>(128 + signal),
        communicator_.rank() == 0
            ? fmt::format("ended by {} before it was done: nothing is printed or written", name_of(signal))
            : std::string());
  if (rounds_ > 0) {
    // At most four times as many as before: the first pieces may be the quick ones.
    const auto fitting = rounds_ * microseconds_between / std::max<std::int64_t>(values[1], 1);
    ask_after_ = std::clamp<std::int64_t>(fitting, 1, 4 * ask_after_);
  }
  rounds_ = 0;
  asked_ = Clock::now();
}

}  // namespace spankey
