#include "sweep/store_fault.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace spankey {
namespace {

constexpr std::int64_t most_input_output_errors = 3;

template <std::size_t N>
bool tells_of(const std::string& words, const std::array<int, N>& errors) {
  return std::any_of(errors.begin(), errors.end(),
                     [&words](int error) { return words.find(std::strerror(error)) != std::string::npos; });
}

bool tells_of_no_space(const std::string& words) {
  constexpr std::string_view too_little_before_the_start = "bytes are free, two checkpoints take";
  return tells_of(words, std::array{ENOSPC, EDQUOT}) || words.find(too_little_before_the_start) != std::string::npos;
}

bool tells_of_a_broken_disk(const std::string& words) {
  return tells_of(words, std::array{EIO, ESTALE, EROFS});
}

// Why nothing of the size of a small checkpoint can be written below `store`. What a failed trial has left free, in
// removing what it could not finish, would still take a few bytes.
std::optional<std::string> cannot_be_written(const std::filesystem::path& store) {
  constexpr std::size_t bytes = 1 << 20;
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  const auto probe = store / fmt::format("probe.{}.{}", host, getpid());
  std::error_code ignored;
  try {
    write_durably(probe, std::string(bytes, '\0'));
    std::filesystem::remove(probe, ignored);
    return std::nullopt;
  } catch (const Error& error) {
    std::filesystem::remove(probe, ignored);
    return error.what();
  }
}

}  // namespace

std::optional<TrialEntry> without_machine_fault(const std::filesystem::path& store, const TrialEntry& before,
                                                const TrialEntry& outcome) {
  if (outcome.state != TrialState::failed) return std::nullopt;
  auto entry = outcome;
  entry.state = TrialState::waiting;
  const bool no_space = tells_of_no_space(outcome.reason);
  const bool broken = tells_of_a_broken_disk(outcome.reason);
  if (!no_space && !broken) {
    const auto why = cannot_be_written(store);
    if (!why) return std::nullopt;
    entry.reason = *why;
  }
  // This holds however often it happens, because the trial would not have failed with enough space.
  if (!broken) entry.idle_attempts = before.idle_attempts;
  if (entry.idle_attempts >= most_input_output_errors) return std::nullopt;
  return entry;
}

StorePauses::StorePauses() : first_(10) {
  if (const char* seconds = std::getenv("SPANKEY_PAUSE_SECONDS")) first_ = decltype(first_)(std::atof(seconds));
}

void StorePauses::met(const std::string& reason) {
  if (pauses_ == most_pauses)
    fail_run(
        "{}; after {} pauses this worker gives up, no trial has failed by it: once the cause is gone, "
        "`spankey sweep resume` goes on",
        reason, most_pauses);
  const auto pause = first_ * (1 << pauses_);
  ++pauses_;
  until_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(pause);
  log::warning("{}; no trial is started for {:g} s", reason, pause.count());
}

}  // namespace spankey
