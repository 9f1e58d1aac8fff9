// Measures what the heartbeat of a run with many ranks costs rank 0. It prints one JSON line.
//   bench_heartbeat_scale [--ranks P] [--seconds S]
// The real host and the real watchdog are in this process. The P ranks are connections of a second one, each of which
// speaks once a second, one after the other. This process computes and enters collectives all the while, on its own
// core where there is a second one. The watchdog's thread and the other process have the rest.
//   core_share       CPU time of the watchdog's thread, as a share of one core
//   wait_us_mean, wait_us_p99, wait_us_worst
//                    entering and leaving a collective in which there is nothing to do
//   wait_us_nothing  the mean with a watchdog and no heartbeat, which is the resolution
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "bench/bench_main.h"
#include "dist/heartbeat.h"
#include "dist/watchdog.h"

namespace spankey {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr double timeout_seconds = 30;

double cpu_seconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// Sets the cores of the calling thread and of what it starts from here on.
class Cores {
 public:
  Cores() { sched_getaffinity(0, sizeof all_, &all_); }
  void first() const {
    take([](int index) { return index == 0; });
  }
  void others() const {
    take([](int index) { return index > 0; });
  }

 private:
  void take(const std::function<bool(int)>& wanted) const {
    if (CPU_COUNT(&all_) < 2) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    for (std::size_t core = 0, index = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &all_) && wanted(static_cast<int>(index++))) CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set);
  }
  cpu_set_t all_;
};

// ---------------------------------------------------------------------------------------------------------------------
// The other ranks are a process that ends with its standard input.

bool input_ended() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  return poll(&input, 1, 0) == 1;
}

void be_guests(int ranks) {
  HeartbeatInvitation invitation;
  if (read(STDIN_FILENO, &invitation, sizeof invitation) != sizeof invitation) fail_run("no invitation");
  std::vector<std::unique_ptr<Heartbeat>> guests;
  for (int rank = 1; rank <= ranks; ++rank) {
    guests.push_back(join_heartbeat(rank, invitation, timeout_seconds));
    if (!guests.back()) fail_run("rank {} was not let in", rank);
  }
  if (write(STDOUT_FILENO, "!", 1) != 1) fail_run("nobody reads");
  RankState state{.collectives = 1, .waiting = true, .in_step = true, .place = "epoch 2, step 17, in all_reduce"};
  const auto interval = Seconds(1) / ranks;
  auto next = Clock::now();
  for (std::size_t i = 0; !input_ended(); i = (i + 1) % guests.size()) {
    ++state.collectives;
    guests[i]->send(state);
    guests[i]->receive(state);
    next += std::chrono::duration_cast<Clock::duration>(interval);
    std::this_thread::sleep_until(next);
  }
}

// Starts the program again, as the other ranks.
class Guests {
 public:
  Guests(int ranks, HeartbeatHost& host) {
    std::array<int, 2> input{}, output{};
    if (pipe(input.data()) != 0 || pipe(output.data()) != 0) fail_run("no pipe: {}", std::strerror(errno));
    process_ = fork();
    if (process_ == 0) {
      dup2(input[0], STDIN_FILENO);
      dup2(output[1], STDOUT_FILENO);
      close(input[1]);
      const auto count = std::to_string(ranks);
      execl("/proc/self/exe", "bench_heartbeat_scale", "--guests", count.c_str(), nullptr);
      _exit(3);
    }
    close(input[0]);
    close(output[1]);
    leash_ = input[1];
    if (write(leash_, &host.invitation(), sizeof(HeartbeatInvitation)) != sizeof(HeartbeatInvitation))
      fail_run("no ranks: {}", std::strerror(errno));
    for (pollfd all{output[0], POLLIN, 0}; poll(&all, 1, 0) == 0;) host.accept_clients(std::chrono::milliseconds(2));
    char word = 0;
    if (read(output[0], &word, 1) != 1) fail_run("the ranks could not join");
    close(output[0]);
    host.stop_accepting();
  }
  ~Guests() {
    close(leash_);
    waitpid(process_, nullptr, 0);
  }
  Guests(const Guests&) = delete;
  Guests& operator=(const Guests&) = delete;

 private:
  pid_t process_ = -1;
  int leash_ = -1;
};

// ---------------------------------------------------------------------------------------------------------------------

struct Measured {
  double core_share = 0;
  std::vector<double> waits_us;  // sorted
  double mean() const {
    return std::accumulate(waits_us.begin(), waits_us.end(), 0.0) / static_cast<double>(waits_us.size());
  }
};

Measured enter_collectives(Watchdog& watchdog, double seconds) {
  constexpr std::chrono::microseconds between{200};
  Measured result;
  const auto others = [] { return cpu_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu_seconds(CLOCK_THREAD_CPUTIME_ID); };
  const double cpu_before = others();
  const auto begin = Clock::now();
  while (Seconds(Clock::now() - begin).count() < seconds) {
    const auto wanted = Clock::now();
    { const Watchdog::Guard guard(watchdog, {.operation = "all_reduce", .bytes = 4096}); }
    const auto left = Clock::now();
    result.waits_us.push_back(1e6 * Seconds(left - wanted).count());
    while (Clock::now() < left + between)
      continue;  // busy like a computation, because a sleeper wakes when others sleep
  }
  result.core_share = (others() - cpu_before) / Seconds(Clock::now() - begin).count();
  std::sort(result.waits_us.begin(), result.waits_us.end());
  return result;
}

void run(int ranks, double seconds) {
  const Cores cores;
  const auto measure = [&](std::unique_ptr<Heartbeat> heartbeat) {
    cores.others();
    Watchdog watchdog(0, timeout_seconds);
    if (heartbeat) watchdog.listen(std::move(heartbeat));
    cores.first();
    auto result = enter_collectives(watchdog, seconds);
    watchdog.leave();
    return result;
  };
  const auto nothing = measure(nullptr);
  cores.others();
  auto host = host_heartbeat(timeout_seconds);
  const Guests guests(ranks, *host);
  const auto measured = measure(std::move(host));
  const nlohmann::json line{{"ranks", ranks},
                            {"seconds", seconds},
                            {"core_share", measured.core_share},
                            {"wait_us_mean", measured.mean()},
                            {"wait_us_p99", measured.waits_us[measured.waits_us.size() * 99 / 100]},
                            {"wait_us_worst", measured.waits_us.back()},
                            {"wait_us_nothing", nothing.mean()}};
  fmt::print("{}\n", line.dump());
}

}  // namespace
}  // namespace spankey

int main(int argc, char** argv) {
  return spankey::exit_code_of("bench_heartbeat_scale", [&] {
    const std::vector<std::string> words(argv + 1, argv + argc);
    int ranks = 1000;
    double seconds = 20;
    for (std::size_t i = 0; i + 1 < words.size(); i += 2) {
      if (words[i] == "--guests") return spankey::be_guests(std::stoi(words[i + 1]));
      if (words[i] == "--ranks")
        ranks = std::stoi(words[i + 1]);
      else if (words[i] == "--seconds")
        seconds = std::stod(words[i + 1]);
      else
        spankey::fail_input("{}: accepted: --ranks P, --seconds S", words[i]);
    }
    if (words.size() % 2 != 0 || ranks < 1 || seconds <= 0)
      spankey::fail_input("usage: bench_heartbeat_scale [--ranks P] [--seconds S]");
    spankey::run(ranks, seconds);
  });
}
