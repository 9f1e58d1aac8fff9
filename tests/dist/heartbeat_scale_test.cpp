// A run of a thousand ranks: as many connections against the real host, and the watchdog's way of waiting for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <ctime>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "dist/heartbeat.h"
#include "dist/watchdog.h"
#include "faults/budget.h"

namespace {

std::atomic<std::int64_t> receives{0};

}  // namespace

// The linker leads every recv() of this program here (tests/dist/CMakeLists.txt).
extern "C" {
ssize_t __real_recv(int socket, void* bytes, size_t size, int flags);
ssize_t __wrap_recv(int socket, void* bytes, size_t size, int flags);
ssize_t __wrap_recv(int socket, void* bytes, size_t size, int flags) {
  ++receives;
  return __real_recv(socket, bytes, size, flags);
}
}

namespace spankey::heartbeat_scale_test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

constexpr double timeout_seconds = 60;  // nobody is silent while a test of a busy machine lasts
const RankState training{.collectives = 5, .waiting = true, .in_step = true, .place = "epoch 2, step 3, in all_reduce"};

std::unique_ptr<Heartbeat> join(HeartbeatHost& host, int rank, const HeartbeatInvitation& invitation) {
  auto guest = std::async(std::launch::async, join_heartbeat, rank, invitation, timeout_seconds);
  while (guest.wait_for(seconds(0)) != std::future_status::ready) host.accept_clients(milliseconds(1));
  return guest.get();
}

bool readable(const Heartbeat& side, milliseconds patience) {
  pollfd wanted{side.descriptor(), POLLIN, 0};
  return poll(&wanted, 1, static_cast<int>(patience.count())) == 1;
}

// What `side` takes in until it learns why the run ends.
std::optional<RunEnd> listen(Heartbeat& side) {
  while (readable(side, seconds(30)))
    if (auto run_end = side.receive(training)) return run_end;
  return {};
}

// Each rank needs two descriptors of this process.
int ranks_possible(int wanted) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  return std::min(wanted, static_cast<int>(std::min<rlim_t>(limit.rlim_max, 1 << 20) - 200) / 2);
}

class ThousandRanks : public testing::Test {
 protected:
  static constexpr int wanted = 1000;

  void SetUp() override {
    const int ranks = ranks_possible(wanted);
    auto joining = std::async(std::launch::async, [&] {
      for (int rank = 1; rank <= ranks; ++rank)
        guests_.push_back(join_heartbeat(rank, host_->invitation(), timeout_seconds));
    });
    while (joining.wait_for(seconds(0)) != std::future_status::ready) host_->accept_clients(milliseconds(1));
    host_->stop_accepting();
    for (const auto& guest : guests_) ASSERT_NE(guest, nullptr);
  }

  std::unique_ptr<HeartbeatHost> host_ = host_heartbeat(timeout_seconds);
  std::vector<std::unique_ptr<Heartbeat>> guests_;  // of rank 1, 2, ...
};

// Calls of recv() while each of `ranks` ranks speaks once, and `take_in` after each of them.
std::int64_t receives_for(const std::function<void(std::size_t)>& speak, const std::function<void()>& take_in,
                          std::size_t ranks) {
  const std::int64_t before = receives;
  for (std::size_t i = 0; i < ranks; ++i) {
    speak(i);
    take_in();
  }
  return receives - before;
}

TEST_F(ThousandRanks, OnlyWhoHasSpokenIsListenedTo) {
  auto late = training;
  late.collectives = 4;
  timespec begin{}, end{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
  const auto count = receives_for([&](std::size_t i) { guests_[i]->send(i == 17 ? late : training); },
                                  [&] {
                                    ASSERT_TRUE(readable(*host_, seconds(30)));
                                    EXPECT_FALSE(host_->receive(training));
                                  },
                                  guests_.size());
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
  EXPECT_FALSE(readable(*host_, milliseconds(0)));
  const auto ranks = static_cast<std::int64_t>(guests_.size());
  EXPECT_GE(count, ranks);
  EXPECT_LE(count, 2 * ranks);
  test::report("R24", "ranks that spoke to one heartbeat", ranks, wanted);
  test::report("R24", "calls of recv for what they said", count);
  test::report("R24", "CPU time of a second's words, without batches, parts in 10,000 of a core",
               (end.tv_sec - begin.tv_sec) * 10'000 + (end.tv_nsec - begin.tv_nsec) / 100'000);

  // All of it has arrived: the judge knows who is behind.
  guests_[3]->complain(training);
  const auto run_end = listen(*host_);
  ASSERT_TRUE(run_end);
  EXPECT_THAT(run_end->sentence, HasSubstr("ranks late: rank 18 (at epoch 2, step 3, in all_reduce)"));
}

// The mutant: all connections are tried after every word.
TEST_F(ThousandRanks, AHostThatTriesAllConnectionsIsCaught) {
  const int ranks = ranks_possible(200);
  std::vector<std::array<int, 2>> connections(static_cast<std::size_t>(ranks));
  for (auto& pair : connections) ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()), 0);
  const auto count = receives_for([&](std::size_t i) { ASSERT_EQ(write(connections[i][1], "!", 1), 1); },
                                  [&] {
                                    char word = 0;
                                    for (const auto& pair : connections) (void)recv(pair[0], &word, 1, MSG_DONTWAIT);
                                  },
                                  connections.size());
  for (const auto& pair : connections)
    for (const int end : pair) close(end);
  const bool caught = count > 2 * ranks;
  EXPECT_TRUE(caught);
  test::report_mutants("R24", "all connections are tried after every word", caught, 1);
}

TEST_F(ThousandRanks, ALossIsToldToAllAtOnce) {
  const std::size_t lost = guests_.size() / 2;
  guests_[lost].reset();
  const auto run_end = listen(*host_);
  ASSERT_TRUE(run_end);
  EXPECT_THAT(run_end->sentence, HasSubstr("rank " + std::to_string(lost + 1) + " is gone"));
  std::int64_t told = 0;
  for (const auto& guest : guests_)
    if (guest) {
      const auto word = listen(*guest);
      told += word && word->sentence == run_end->sentence;
    }
  EXPECT_EQ(told, static_cast<std::int64_t>(guests_.size()) - 1);
  test::report("R24", "ranks that learned of a loss among them", told, wanted - 1);
}

// ---------------------------------------------------------------------------------------------------------------------
// Connections that take or give little

TEST(HeartbeatConnection, WhoDoesNotReadHoldsNobodyUpAndLearnsWhyTheRunEnds) {
  const auto host = host_heartbeat(timeout_seconds);
  const auto slow = join(*host, 1, host->invitation());
  ASSERT_NE(slow, nullptr);
  host->stop_accepting();
  constexpr int more_than_any_buffer = 60'000;  // 30 MB
  for (int i = 0; i < more_than_any_buffer; ++i) host->send(training);
  host->announce({75, "rank 0 has had enough"});
  std::optional<RunEnd> run_end;
  for (int i = 0; i < 100'000 && !run_end; ++i) {  // it wakes up
    run_end = slow->receive(training);
    host->receive(training);
  }
  ASSERT_TRUE(run_end);
  EXPECT_EQ(run_end->exit_code, 75);
  EXPECT_EQ(run_end->sentence, "rank 0 has had enough");
}

// A wire between a rank and rank 0 that passes on a few bytes at a time.
class Dribble {
 public:
  explicit Dribble(const HeartbeatInvitation& invitation)
      : door_(socket(AF_INET, SOCK_STREAM, 0)), beyond_(invitation) {
    sockaddr_in here = loopback(0);
    socklen_t length = sizeof here;
    EXPECT_EQ(bind(door_, reinterpret_cast<sockaddr*>(&here), length), 0);
    EXPECT_EQ(::listen(door_, 1), 0);
    EXPECT_EQ(getsockname(door_, reinterpret_cast<sockaddr*>(&here), &length), 0);
    port_ = here.sin_port;
    thread_ = std::thread([this] { pass_on(); });
  }
  ~Dribble() {
    thread_.join();
    close(door_);
  }
  Dribble(const Dribble&) = delete;
  Dribble& operator=(const Dribble&) = delete;

  HeartbeatInvitation invitation() const {
    auto result = beyond_;
    result.port = port_;
    result.address_count = 1;
    result.addresses[0] = htonl(INADDR_LOOPBACK);
    return result;
  }

 private:
  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = port;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }

  void pass_on() const {
    const int guest = accept(door_, nullptr, nullptr);
    const int host = socket(AF_INET, SOCK_STREAM, 0);
    const auto there = loopback(beyond_.port);
    EXPECT_EQ(connect(host, reinterpret_cast<const sockaddr*>(&there), sizeof there), 0);
    std::array<pollfd, 2> ends{{{guest, POLLIN, 0}, {host, POLLIN, 0}}};
    std::array<char, 77> few;
    for (bool open = true; open && poll(ends.data(), 2, 60'000) > 0;)
      for (std::size_t i = 0; i < 2; ++i)
        if (ends[i].revents != 0) {
          const auto count = read(ends[i].fd, few.data(), few.size());
          open = open && count > 0 && write(ends[1 - i].fd, few.data(), static_cast<std::size_t>(count)) == count;
        }
    close(guest);
    close(host);
  }

  int door_;
  HeartbeatInvitation beyond_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

TEST(HeartbeatConnection, MessagesInPiecesArePutTogether) {
  const auto host = host_heartbeat(timeout_seconds);
  Dribble wire(host->invitation());
  auto guest = join(*host, 1, wire.invitation());
  ASSERT_NE(guest, nullptr);
  host->stop_accepting();
  guest->send(training);
  guest->announce({75, "rank 1 has had enough"});
  const auto run_end = listen(*host);
  ASSERT_TRUE(run_end);
  EXPECT_EQ(run_end->sentence, "rank 1 has had enough");
  const auto back = listen(*guest);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->sentence, "rank 1 has had enough");
  guest.reset();  // the wire ends
}

// ---------------------------------------------------------------------------------------------------------------------
// The watchdog

// Talks to the ranks until the test lets it go on.
class Busy final : public Heartbeat {
 public:
  struct Talk {
    std::mutex mutex;
    std::condition_variable changed;
    bool begun = false, may_end = false;
  };
  Busy(Talk& talk, std::mutex* shared) : talk_(talk), shared_(shared) {}

  int descriptor() const override { return -1; }
  void send(const RankState&) override {}
  std::optional<RunEnd> receive(const RankState&) override {
    const auto held = shared_ ? std::unique_lock(*shared_) : std::unique_lock<std::mutex>();
    std::unique_lock lock(talk_.mutex);
    talk_.begun = true;
    talk_.changed.notify_all();
    talk_.changed.wait(lock, [&] { return talk_.may_end; });
    return {};
  }
  bool root_in_step() const override { return true; }
  void extend_deadlines(Clock::duration) override {}
  void complain(const RankState&) override {}
  void announce(const RunEnd&) override {}
  void leave() override {}

 private:
  Talk& talk_;
  std::mutex* shared_;
};

// Whether a collective is entered and left while rank 0 talks to the ranks, for which it has `patience`. `shared`: the
// lock that both take in the mutant.
bool enters_while_talking(milliseconds patience, std::mutex* shared) {
  Busy::Talk talk;
  Watchdog watchdog(0, timeout_seconds);
  watchdog.listen(std::make_unique<Busy>(talk, shared));
  {
    std::unique_lock lock(talk.mutex);
    talk.changed.wait(lock, [&] { return talk.begun; });
  }
  auto collective = std::async(std::launch::async, [&] {
    const auto held = shared ? std::unique_lock(*shared) : std::unique_lock<std::mutex>();
    watchdog.begin_step("epoch 1, step 2");
    const Watchdog::Guard guard(watchdog, {.operation = "all_reduce"});
  });
  const bool entered = collective.wait_for(patience) == std::future_status::ready;
  {
    const std::lock_guard lock(talk.mutex);
    talk.may_end = true;
  }
  talk.changed.notify_all();
  collective.get();
  watchdog.leave();
  return entered;
}

TEST(WatchdogScale, ACollectiveDoesNotWaitForTheHeartbeat) {
  EXPECT_TRUE(enters_while_talking(seconds(30), nullptr));
  std::mutex one_for_both;
  const bool caught = !enters_while_talking(milliseconds(100), &one_for_both);
  EXPECT_TRUE(caught);
  test::report_mutants("R24", "one lock for collectives and heartbeat", caught, 1);
}

}  // namespace
}  // namespace spankey::heartbeat_scale_test
