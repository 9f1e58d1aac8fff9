// A sign of life between the ranks, beside MPI: MPI does not notice a rank that was stopped or a cable that was cut.
//
// A star of TCP connections: every rank sends its state to rank 0, and rank 0 its own to every rank. Rank 0 is the
// judge: it alone sees all states, names the rank that is lost or late, and tells everybody. What rank 0 does when some
// ranks have spoken grows with their number, not with that of all ranks.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace spankey {

// What a rank says about itself.
struct RankState {
  std::uint64_t collectives = 0;  // entered so far: who has entered the fewest is the one the others wait for
  bool waiting = false;           // for other ranks; false: at work
  bool in_step = false;           // false: in something that has no deadline
  std::string place;              // "epoch 2, step 17, at work"
};

// Why the run ends, and with which exit code.
struct Verdict {
  int exit_code;
  std::string sentence;
};

// Where rank 0 listens. Trivially copyable: it travels by MPI.
struct HeartbeatInvitation {
  static constexpr int most_addresses = 16;
  std::uint64_t secret = 0;  // of this run: strangers that connect are not listened to
  std::uint16_t port = 0;    // in network byte order, as the addresses (IPv4)
  std::uint32_t address_count = 0;
  std::uint32_t addresses[most_addresses] = {};  // loopback last
};

// One rank's end. Nothing here blocks, whoever does not read; one thread at a time uses it.
class Heartbeat {
 public:
  using Clock = std::chrono::steady_clock;

  virtual ~Heartbeat() = default;
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // To be polled for reading: readable while receive() has something to take in; -1: nothing can come any more.
  virtual int descriptor() const = 0;
  // A rank that has not read the state before gets no further one; all other words wait until it reads.
  virtual void send(const RankState& mine) = 0;
  // Takes in what has come. Returns a verdict where somebody has given one, has gone without a farewell, or has been
  // silent for most of the timeout.
  virtual std::optional<Verdict> receive(const RankState& mine) = 0;
  // False while rank 0 does something that has no deadline (saves a checkpoint) and the others may wait for it.
  virtual bool root_in_step() const = 0;
  // This process was suspended for so long: that is nobody's silence.
  virtual void extend_deadlines(Clock::duration gap) = 0;

  // This rank has waited too long for the others; the judge's answer comes out of receive() on every rank.
  virtual void complain(const RankState& mine) = 0;
  // This rank ends the run; every other rank learns it from receive(). Of several verdicts the first is told.
  virtual void announce(const Verdict& verdict) = 0;
  // This rank ends as it should: nobody misses it.
  virtual void leave() = 0;

 protected:
  Heartbeat() = default;
};

// Rank 0's end.
class HeartbeatHost : public Heartbeat {
 public:
  virtual const HeartbeatInvitation& invitation() const = 0;
  // Lets in who has come; where nobody has, waits at most so long.
  virtual void accept_clients(std::chrono::milliseconds patience) = 0;
  virtual void stop_accepting() = 0;
};

// Error(run_failed) where no port can be opened.
std::unique_ptr<HeartbeatHost> host_heartbeat(double timeout_seconds);

// Null where rank 0 answers on none of its addresses.
std::unique_ptr<Heartbeat> join_heartbeat(int rank, const HeartbeatInvitation& invitation, double timeout_seconds);

}  // namespace spankey
