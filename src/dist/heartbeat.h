// A sign of life between the ranks, beside MPI, because MPI does not notice a rank that was stopped or a cable that was
// cut.
//
// The ranks form a star of TCP connections. Every rank sends its state to rank 0, and rank 0 sends its own state to
// every rank. Rank 0 is the judge. It alone sees all states, names the rank that is lost or late, and tells all ranks.
// The work of rank 0 grows with the number of ranks that have sent something, not with the number of all ranks.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace spankey {

// What a rank says about itself.
struct RankState {
  std::uint64_t collectives = 0;  // entered so far (the others wait for the rank with the fewest)
  bool waiting = false;           // true while it waits for other ranks, false while it works
  bool in_step = false;           // false while it does something that has no deadline
  std::string place;              // "epoch 2, step 17, at work"
};

// Why the run ends, and with which exit code.
struct RunEnd {
  int exit_code;
  std::string sentence;
};

// Where rank 0 listens. It is trivially copyable, because it is sent over MPI.
struct HeartbeatInvitation {
  static constexpr int most_addresses = 16;
  std::uint64_t secret = 0;  // connections without this run's secret are ignored
  std::uint16_t port = 0;    // in network byte order, as the addresses (IPv4)
  std::uint32_t address_count = 0;
  std::uint32_t addresses[most_addresses] = {};  // loopback last
};

// One rank's end of the connection. No call blocks, even if a peer does not read. One thread at a time uses it.
class Heartbeat {
 public:
  using Clock = std::chrono::steady_clock;

  virtual ~Heartbeat() = default;
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // Poll this descriptor for reading. It is readable while receive() has something to take in, and -1 when nothing can
  // arrive any more.
  virtual int descriptor() const = 0;
  // Sends this rank's state. A rank that has not read the previous state gets no further one. All other messages wait
  // until it reads.
  virtual void send(const RankState& mine) = 0;
  // Reads what has arrived. Returns why the run ends where a rank has announced that, has closed its connection without
  // leave(), or has been silent for most of the timeout.
  virtual std::optional<RunEnd> receive(const RankState& mine) = 0;
  // False while rank 0 does something that has no deadline (saves a checkpoint) and the others may wait for it.
  virtual bool root_in_step() const = 0;
  // Extends all deadlines by `gap`, because this process was suspended for that long and nobody was silent.
  virtual void extend_deadlines(Clock::duration gap) = 0;

  // Reports that this rank has waited too long for the others. The judge's answer comes out of receive() on every rank.
  virtual void complain(const RankState& mine) = 0;
  // Ends the run from this rank. Every other rank gets `run_end` from receive(). Of several announcements the first is
  // reported.
  virtual void announce(const RunEnd& run_end) = 0;
  // Announces an orderly end of this rank, so that no other rank takes it for lost.
  virtual void leave() = 0;

 protected:
  Heartbeat() = default;
};

// Rank 0's end.
class HeartbeatHost : public Heartbeat {
 public:
  virtual const HeartbeatInvitation& invitation() const = 0;
  // Accepts clients that have connected. If none has, it waits for at most `patience`.
  virtual void accept_clients(std::chrono::milliseconds patience) = 0;
  virtual void stop_accepting() = 0;
};

// Throws Error(run_failed) where no port can be opened.
std::unique_ptr<HeartbeatHost> host_heartbeat(double timeout_seconds);

// Returns nullptr where rank 0 answers on none of its addresses.
std::unique_ptr<Heartbeat> join_heartbeat(int rank, const HeartbeatInvitation& invitation, double timeout_seconds);

}  // namespace spankey
