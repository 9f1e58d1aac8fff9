#include "dist/watchdog.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "base/error.h"
#include "base/log.h"

namespace spankey {
namespace {

constexpr double longest_nap_seconds = 1;
constexpr double naps_per_timeout = 20;
constexpr double rests_per_nap = 50;            // in which what the others send is left to gather
constexpr double suspended_timeouts = 1.0 / 3;  // a nap longer by this was no nap
constexpr std::int64_t first_steps = 3;
constexpr double first_steps_timeouts = 10;
constexpr double slowest_steps = 5;
constexpr std::chrono::seconds patience_with_log{8};
constexpr std::chrono::seconds patience_with_judge{3};
constexpr std::chrono::seconds patience_with_abort{5};
constexpr std::chrono::milliseconds for_the_others_to_log{300};

// The first rank to end makes the launcher end the others, after they have logged. They end at different moments on
// purpose, because mpirun 4.1 has been seen to lose count of ranks that end while it ends them, and then waits for
// ever.
std::chrono::milliseconds pause_before_exit(int rank) {
  constexpr int most_steps = 8;
  return for_the_others_to_log * (1 + std::min(rank, most_steps));
}

// The log may be on the same file system that made a peer late. A thread that writes there waits no longer than this.
void exit_after(std::chrono::seconds patience, int exit_code) {
  std::thread([patience, exit_code] {
    std::this_thread::sleep_for(patience);
    _exit(exit_code);
  }).detach();
}

}  // namespace

Watchdog::Watchdog(int world_rank, double timeout_seconds)
    : world_rank_(world_rank),
      timeout_seconds_(timeout_seconds),
      nap_(std::min(longest_nap_seconds, timeout_seconds / naps_per_timeout)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  SPANKEY_CHECK_OP(timeout_seconds, >, 0.0);
  thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  eventfd_write(wake_.get(), 1);
  thread_.join();
}

Watchdog::Guard::Guard(Watchdog& watchdog, const Waiting& waiting) : watchdog_(watchdog) {
  const std::lock_guard lock(watchdog_.mutex_);
  if (waiting.collective) ++watchdog_.collectives_;
  entry_ = watchdog_.waiting_.insert(watchdog_.waiting_.end(), waiting);
}

Watchdog::Guard::~Guard() {
  const std::lock_guard lock(watchdog_.mutex_);
  watchdog_.waiting_.erase(entry_);
}

void Watchdog::listen(std::unique_ptr<Heartbeat> heartbeat) {
  {
    const std::lock_guard talking(conversation_);
    heartbeat_ = std::move(heartbeat);
  }
  eventfd_write(wake_.get(), 1);
}

void Watchdog::set_place(const std::string& place) {
  const std::lock_guard lock(mutex_);
  end_step(Clock::now());
  place_ = place;
}

void Watchdog::begin_step(const std::string& place) {
  const std::lock_guard lock(mutex_);
  const auto now = Clock::now();
  end_step(now);
  step_since_ = now;
  place_ = place;
}

void Watchdog::end_step(Clock::time_point now) {
  if (!step_since_) return;
  slowest_step_seconds_ = std::max(slowest_step_seconds_, std::chrono::duration<double>(now - *step_since_).count());
  ++steps_;
  step_since_.reset();
}

void Watchdog::announce_end(int exit_code) {
  RunEnd run_end{exit_code, {}};
  {
    const std::lock_guard lock(mutex_);
    if (last_word_) return;
    announced_ = true;
    run_end.sentence =
        fmt::format("rank {} has ended the run with exit code {}, at {}", world_rank_, exit_code, state().place);
    last_word_ = run_end;
    last_word_at_ = Clock::now() + patience_with_abort;
  }
  const std::lock_guard talking(conversation_);
  if (heartbeat_) heartbeat_->announce(run_end);
}

void Watchdog::leave() {
  const std::lock_guard talking(conversation_);
  if (heartbeat_) heartbeat_->leave();
  heartbeat_.reset();
}

// ---------------------------------------------------------------------------------------------------------------------
// The watching thread

void Watchdog::watch() {
  // The readers of stdout and stderr may have ended with the launcher. Writing there must not end this thread.
  sigset_t pipe_broken;
  sigemptyset(&pipe_broken);
  sigaddset(&pipe_broken, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe_broken, nullptr);

  looked_around_ = Clock::now();
  do {
    sleep();
  } while (look_around());
}

// A thousand ranks send a thousand messages a second. This thread does not wake for each, but reads together those that
// arrive while it sleeps.
void Watchdog::sleep() const {
  const auto milliseconds = [](std::chrono::duration<double> time) { return static_cast<int>(1e3 * time.count()) + 1; };
  std::array<pollfd, 3> wanted{{{wake_.get(), POLLIN, 0}, {launcher_.descriptor(), POLLIN, 0}, {-1, POLLIN, 0}}};
  const auto rest = nap_ / rests_per_nap;
  if (poll(wanted.data(), 2, milliseconds(rest)) == 0) {
    {
      const std::lock_guard talking(conversation_);
      if (heartbeat_) wanted[2].fd = heartbeat_->descriptor();
    }
    poll(wanted.data(), wanted.size(), milliseconds(nap_ - rest));
  }
  eventfd_t ignored = 0;
  eventfd_read(wake_.get(), &ignored);
}

bool Watchdog::look_around() {
  const std::lock_guard talking(conversation_);
  const bool launcher_gone = launcher_.is_gone();
  RankState mine;
  {
    const std::lock_guard lock(mutex_);
    if (stop_) return false;
    const auto now = Clock::now();
    const std::chrono::duration<double> suspended(timeout_seconds_ * suspended_timeouts);
    if (now - looked_around_ > nap_ + suspended) extend_deadlines(now - looked_around_);
    looked_around_ = now;
    mine = state();
  }
  const auto run_end = launcher_gone ? std::nullopt : converse(mine);
  const std::lock_guard lock(mutex_);
  if (launcher_gone)
    end_process({static_cast<int>(ExitCode::run_failed),
                 fmt::format("the launcher, {}, is gone; this rank was at {}", launcher_.name(), mine.place)});
  if (run_end && !announced_) end_process(*run_end);
  check_deadlines(looked_around_);
  return true;
}

void Watchdog::extend_deadlines(Clock::duration gap) {
  for (auto& waiting : waiting_) waiting.since += gap;
  if (step_since_) *step_since_ += gap;
  if (heartbeat_) heartbeat_->extend_deadlines(gap);
}

// Exchanges states with the other ranks.
std::optional<RunEnd> Watchdog::converse(const RankState& mine) {
  if (!heartbeat_) return {};
  if (const auto now = Clock::now(); now - heartbeat_sent_ > nap_) {
    heartbeat_sent_ = now;
    heartbeat_->send(mine);
  }
  return heartbeat_->receive(mine);
}

double Watchdog::step_limit_seconds() const {
  if (steps_ < first_steps) return first_steps_timeouts * timeout_seconds_;
  return timeout_seconds_ + slowest_steps * slowest_step_seconds_;
}

void Watchdog::check_deadlines(Clock::time_point now) {
  if (last_word_) {
    if (now > last_word_at_) end_process(*last_word_);
    return;
  }
  for (const auto& waiting : waiting_) {
    const double seconds = std::chrono::duration<double>(now - waiting.since).count();
    if (seconds > timeout_seconds_ * waiting.patience)
      return complain(fmt::format("{} has taken {:.1f} s", waiting.operation, seconds));
  }
  if (!step_since_) return;
  if (heartbeat_ && !heartbeat_->root_in_step()) step_since_ = now;
  const double seconds = std::chrono::duration<double>(now - *step_since_).count();
  if (seconds > step_limit_seconds())
    complain(fmt::format("a step has taken {:.1f} s, the slowest before it took {:.1f} s (dist.timeout_seconds = {:g})",
                         seconds, slowest_step_seconds_, timeout_seconds_));
}

// Rank 0 knows which rank is late. Without its word this rank ends with its own.
void Watchdog::complain(const std::string& sentence) {
  const auto mine = state();
  last_word_ = RunEnd{static_cast<int>(ExitCode::run_failed),
                      fmt::format("{}, at {}; another rank is stuck or late", sentence, mine.place)};
  last_word_at_ = Clock::now();
  if (!heartbeat_) end_process(*last_word_);
  heartbeat_->complain(mine);
  last_word_at_ += patience_with_judge;
  exit_after(patience_with_judge + patience_with_log, last_word_->exit_code);
  log::error("rank {}: {}, at {}", world_rank_, sentence, mine.place);
}

RankState Watchdog::state() const {
  const bool in_step = step_since_.has_value();
  if (waiting_.empty()) return {collectives_, false, in_step, place_ + ", at work"};
  const auto& oldest = waiting_.front();
  const double seconds = std::chrono::duration<double>(Clock::now() - oldest.since).count();
  return {collectives_, true, in_step,
          fmt::format("{}, in {} of {} bytes for {:.1f} s", place_, oldest.operation, oldest.bytes, seconds)};
}

void Watchdog::end_process(const RunEnd& run_end) const {
  exit_after(patience_with_log, run_end.exit_code);
  log::error("rank {}, at {}, ends: {}", world_rank_, state().place, run_end.sentence);
  log::flush();
  std::this_thread::sleep_for(pause_before_exit(world_rank_));
  launcher_.must_end();
  _exit(run_end.exit_code);
}

}  // namespace spankey
