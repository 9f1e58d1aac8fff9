#include "dist/heartbeat.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/ranges.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/descriptor.h"
#include "base/error.h"

namespace spankey {
namespace {

constexpr std::chrono::milliseconds patience_to_connect{3000};
constexpr std::chrono::milliseconds patience_for_welcome{10000};  // long, since rank 0 may be busy
constexpr std::size_t most_named = 4;

enum class Kind : std::uint32_t { hello, welcome, state, complaint, farewell, run_end };

// All ranks run the same program on the same kind of machine, so a struct may travel as it is.
struct Message {
  std::uint64_t secret = 0;
  Kind kind = Kind::state;
  std::int32_t rank = 0;
  std::int32_t exit_code = 0;
  std::uint8_t waiting = 0, in_step = 0;
  std::uint16_t length = 0;  // of text
  std::uint64_t collectives = 0;
  char text[480] = {};
};
static_assert(std::is_trivially_copyable_v<Message> && sizeof(Message) == 512);

Message make_message(Kind kind, const std::string& text = {}) {
  Message message;
  message.kind = kind;
  message.length = static_cast<std::uint16_t>(std::min(text.size(), sizeof message.text));
  std::memcpy(message.text, text.data(), message.length);
  return message;
}

Message make_message(Kind kind, const RankState& state) {
  auto message = make_message(kind, state.place);
  message.collectives = state.collectives;
  message.waiting = state.waiting ? 1 : 0;
  message.in_step = state.in_step ? 1 : 0;
  return message;
}

Message make_message(const RunEnd& run_end) {
  auto message = make_message(Kind::run_end, run_end.sentence);
  message.exit_code = run_end.exit_code;
  return message;
}

std::string text_of(const Message& message) {
  return {message.text, std::min<std::size_t>(message.length, sizeof message.text)};
}

// Messages over one connection.
class Link {
 public:
  Link(Descriptor socket, int rank, std::uint64_t secret) : socket_(std::move(socket)), rank_(rank), secret_(secret) {
    const int on = 1;
    setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }

  int descriptor() const { return socket_.get(); }  // -1 once it has ended
  bool ended() const { return !socket_.valid(); }
  bool has_unsent() const { return !outgoing_.empty() && !ended(); }

  // Bytes that the connection does not take now are sent with the next message, or by flush(). A peer that is behind
  // gets no old states, because a newer one will follow.
  void send(Message message) {
    flush();
    if (ended() || (message.kind == Kind::state && !outgoing_.empty())) return;
    message.rank = rank_;
    message.secret = secret_;
    outgoing_.append(reinterpret_cast<const char*>(&message), sizeof message);
    flush();
  }

  // Nothing is sent if the peer is gone. receive() finds that out.
  void flush() {
    if (outgoing_.empty() || ended()) return;
    const auto sent = ::send(socket_.get(), outgoing_.data(), outgoing_.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) outgoing_.erase(0, static_cast<std::size_t>(sent));
  }

  // Returns the next messages, a few at most. The socket stays readable while there are more.
  std::vector<Message> receive() {
    std::vector<Message> messages;
    if (ended()) return messages;
    std::array<char, 8 * sizeof(Message)> bytes;
    const auto count = recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return messages;
    if (count <= 0) socket_.reset();
    for (std::size_t first = 0; !ended() && first < static_cast<std::size_t>(count);) {
      const auto part = std::min(sizeof incoming_ - filled_, static_cast<std::size_t>(count) - first);
      std::memcpy(reinterpret_cast<char*>(&incoming_) + filled_, bytes.data() + first, part);
      first += part;
      filled_ = (filled_ + part) % sizeof incoming_;
      if (filled_ != 0) continue;
      if (incoming_.secret == secret_)
        messages.push_back(incoming_);
      else
        socket_.reset();
    }
    return messages;
  }

 private:
  Descriptor socket_;
  int rank_;  // of this side
  std::uint64_t secret_;
  Message incoming_;
  std::size_t filled_ = 0;
  std::string outgoing_;
};

RunEnd gone(int rank, const std::string& place) {
  return {static_cast<int>(ExitCode::run_failed),
          fmt::format("rank {} is gone: its process has ended without a farewell; it was last heard of at {}", rank,
                      place)};
}

RunEnd silent(int rank, const std::string& place, double seconds, double timeout_seconds) {
  return {static_cast<int>(ExitCode::run_failed),
          fmt::format("rank {} has given no sign of life for {:.1f} s (dist.timeout_seconds = {:g}): dead, stopped or "
                      "cut off; it was last heard of at {}",
                      rank, seconds, timeout_seconds, place)};
}

// Share of the timeout after which a rank counts as silent. The rest is left to the other ranks, and their launcher, to
// end in.
constexpr double longest_silence = 0.8;
// Number of times per timeout that rank 0 checks for silent ranks.
constexpr double looks_per_timeout = 50;

// The other end of a connection, as this side knows it.
struct Peer {
  Peer(Link connection, int number) : link(std::move(connection)), rank(number) {}

  void hear(const Message& message) {
    heard = Heartbeat::Clock::now();
    if (message.kind == Kind::farewell) left = true;
    if (message.kind != Kind::state && message.kind != Kind::complaint) return;
    state = {message.collectives, message.waiting != 0, message.in_step != 0, text_of(message)};
  }
  std::optional<RunEnd> judge(Heartbeat::Clock::time_point now, double timeout_seconds) const {
    if (left) return {};
    if (link.ended()) return gone(rank, state.place);
    const double seconds = std::chrono::duration<double>(now - heard).count();
    if (seconds > longest_silence * timeout_seconds) return silent(rank, state.place, seconds, timeout_seconds);
    return {};
  }

  Link link;
  int rank;  // -1 until the peer has sent it
  Heartbeat::Clock::time_point heard = Heartbeat::Clock::now();
  RankState state{.place = "the start"};
  bool left = false;
};

// ---------------------------------------------------------------------------------------------------------------------
// Rank 0

std::uint64_t random_secret() {
  std::uint64_t secret = 0;
  if (getrandom(&secret, sizeof secret, 0) != sizeof secret) fail_run("no random number: {}", std::strerror(errno));
  return secret;
}

// Rank 0 has a connection to each of perhaps thousands of ranks, and HDF5 wants files besides.
void allow_many_files() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void list_addresses(HeartbeatInvitation& invitation) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) fail_run("no list of network addresses: {}", std::strerror(errno));
  for (const bool loopback : {false, true}) {
    for (const auto* entry = list; entry; entry = entry->ifa_next) {
      if (!entry->ifa_addr || entry->ifa_addr->sa_family != AF_INET || !(entry->ifa_flags & IFF_UP) ||
          ((entry->ifa_flags & IFF_LOOPBACK) != 0) != loopback ||
          invitation.address_count == HeartbeatInvitation::most_addresses)
        continue;
      sockaddr_in address{};
      std::memcpy(&address, entry->ifa_addr, sizeof address);
      invitation.addresses[invitation.address_count++] = address.sin_addr.s_addr;
    }
  }
  freeifaddrs(list);
}

class Host final : public HeartbeatHost {
 public:
  explicit Host(double timeout_seconds)
      : timeout_seconds_(timeout_seconds),
        door_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)),
        readable_(epoll_create1(EPOLL_CLOEXEC)) {
    allow_many_files();
    sockaddr_in address{};
    address.sin_family = AF_INET;
    socklen_t length = sizeof address;
    if (!door_.valid() || !readable_.valid() || bind(door_.get(), reinterpret_cast<sockaddr*>(&address), length) != 0 ||
        listen(door_.get(), SOMAXCONN) != 0 ||
        getsockname(door_.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0)
      fail_run("no TCP port for the heartbeat of the ranks: {}", std::strerror(errno));
    watch(door_.get(), nullptr);
    invitation_.port = address.sin_port;
    invitation_.secret = random_secret();
    list_addresses(invitation_);
  }

  const HeartbeatInvitation& invitation() const override { return invitation_; }

  void accept_clients(std::chrono::milliseconds patience) override {
    for (auto* guest : await(patience)) guest ? greet(*guest) : let_in();
    guests_.remove_if([](const Peer& guest) { return guest.link.ended(); });
  }

  void stop_accepting() override {
    door_.reset();
    guests_.clear();
    peers_.sort([](const Peer& a, const Peer& b) { return a.rank < b.rank; });
    looked_ = Clock::now();
    for (auto& peer : peers_) {
      peer.heard = looked_;
      watch(peer.link.descriptor(), &peer);
    }
  }

  int descriptor() const override { return readable_.get(); }

  void send(const RankState& mine) override { tell_all(make_message(Kind::state, mine)); }

  std::optional<RunEnd> receive(const RankState& mine) override {
    const auto now = Clock::now();  // before reading, so that a pause here does not count as a peer's silence
    std::optional<RunEnd> run_end;
    constexpr int most_rounds = 16;  // then others have their turn
    auto speaking = await(std::chrono::milliseconds(0));
    for (int round = 0; round < most_rounds && !speaking.empty(); ++round) {
      for (auto* peer : speaking)
        if (auto word = hear(*peer); word && !run_end) run_end = std::move(word);
      speaking = await(std::chrono::milliseconds(0));
    }
    if (!run_end) run_end = find_silent(now);
    if (!run_end && complaint_) run_end = name_the_late(mine);
    if (run_end) announce(*run_end);
    if (unsent_) flush();
    return run_end;
  }

  bool root_in_step() const override { return true; }

  void extend_deadlines(Clock::duration gap) override {
    for (auto& peer : peers_) peer.heard += gap;
  }

  void complain(const RankState&) override { complaint_ = true; }
  void announce(const RunEnd& run_end) override {
    if (!std::exchange(announced_, true)) tell_all(make_message(run_end));
  }
  void leave() override { tell_all(make_message(Kind::farewell)); }

 private:
  void watch(int descriptor, Peer* peer) {
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    wanted.data.ptr = peer;
    if (epoll_ctl(readable_.get(), EPOLL_CTL_ADD, descriptor, &wanted) != 0)
      fail_run("no watch over the connections between the ranks: {}", std::strerror(errno));
  }

  // The peers that have sent something or are gone. nullptr stands for a new connection.
  std::vector<Peer*> await(std::chrono::milliseconds patience) {
    events_.resize(std::max<std::size_t>(peers_.size(), 16));
    const int count = epoll_wait(readable_.get(), events_.data(), static_cast<int>(events_.size()),
                                 static_cast<int>(patience.count()));
    std::vector<Peer*> result;
    for (int i = 0; i < count; ++i) result.push_back(static_cast<Peer*>(events_[static_cast<std::size_t>(i)].data.ptr));
    return result;
  }

  void let_in() {
    while (true) {
      const int guest = accept4(door_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (guest < 0) return;
      guests_.emplace_back(Link(Descriptor(guest), /*rank=*/0, invitation_.secret), -1);
      watch(guest, &guests_.back());
    }
  }

  // Messages of a rank after its name wait for stop_accepting().
  void greet(Peer& guest) {
    for (const auto& message : guest.link.receive())
      if (message.kind == Kind::hello) guest.rank = message.rank;
    if (guest.rank < 0 || guest.link.ended()) return;
    guest.link.send(make_message(Kind::welcome));
    epoll_ctl(readable_.get(), EPOLL_CTL_DEL, guest.link.descriptor(), nullptr);
    const auto place = std::find_if(guests_.begin(), guests_.end(), [&](const Peer& one) { return &one == &guest; });
    peers_.splice(peers_.end(), guests_, place);
  }

  std::optional<RunEnd> hear(Peer& peer) {
    std::optional<RunEnd> run_end;
    for (const auto& message : peer.link.receive()) {
      peer.hear(message);
      if (message.kind == Kind::run_end && !run_end) run_end = RunEnd{message.exit_code, text_of(message)};
      if (message.kind == Kind::complaint) complaint_ = true;
    }
    if (!run_end && peer.link.ended() && !peer.left) run_end = gone(peer.rank, peer.state.place);
    return run_end;
  }

  std::optional<RunEnd> find_silent(Clock::time_point now) {
    if (std::chrono::duration<double>(now - looked_).count() * looks_per_timeout < timeout_seconds_) return {};
    looked_ = now;
    for (const auto& peer : peers_)
      if (auto run_end = peer.judge(now, timeout_seconds_)) return run_end;
    return {};
  }

  void tell_all(const Message& message) {
    for (auto& peer : peers_) {
      if (peer.left) continue;
      peer.link.send(message);
      unsent_ = unsent_ || peer.link.has_unsent();
    }
  }

  void flush() {
    unsent_ = false;
    for (auto& peer : peers_) {
      peer.link.flush();
      unsent_ = unsent_ || peer.link.has_unsent();
    }
  }

  // The ranks that have entered the fewest collectives, and among these the ones that are working rather than waiting.
  RunEnd name_the_late(const RankState& mine) const {
    std::vector<std::pair<int, RankState>> ranks{{0, mine}};
    for (const auto& peer : peers_)
      if (!peer.left) ranks.emplace_back(peer.rank, peer.state);
    const auto lag = [](const std::pair<int, RankState>& entry) {
      return std::pair(entry.second.collectives, entry.second.waiting);
    };
    const auto worst = lag(
        *std::min_element(ranks.begin(), ranks.end(), [&](const auto& a, const auto& b) { return lag(a) < lag(b); }));
    std::vector<std::string> late;
    for (const auto& entry : ranks)
      if (lag(entry) == worst) late.push_back(fmt::format("rank {} (at {})", entry.first, entry.second.place));
    const auto count = late.size();
    late.resize(std::min(count, most_named));
    return {static_cast<int>(ExitCode::run_failed), fmt::format("the run does not get on: {} of {} ranks late: {}",
                                                                count, ranks.size(), fmt::join(late, ", "))};
  }

  const double timeout_seconds_;
  HeartbeatInvitation invitation_;
  Descriptor door_;
  Descriptor readable_;     // an epoll of the door and of all connections
  std::list<Peer> guests_;  // clients that have not sent their rank
  std::list<Peer> peers_;
  std::vector<epoll_event> events_;
  Clock::time_point looked_ = Clock::now();  // who is silent
  bool complaint_ = false;
  bool announced_ = false;
  bool unsent_ = false;  // a peer has not yet read everything sent to it
};

// ---------------------------------------------------------------------------------------------------------------------
// The others

class Client final : public Heartbeat {
 public:
  Client(Link link, double timeout_seconds) : timeout_seconds_(timeout_seconds), host_(std::move(link), 0) {}

  int descriptor() const override { return host_.link.descriptor(); }
  void send(const RankState& mine) override { host_.link.send(make_message(Kind::state, mine)); }
  std::optional<RunEnd> receive(const RankState&) override {
    const auto now = Clock::now();
    host_.link.flush();
    for (auto messages = host_.link.receive(); !messages.empty(); messages = host_.link.receive())
      for (const auto& message : messages) {
        host_.hear(message);
        if (message.kind == Kind::run_end) return RunEnd{message.exit_code, text_of(message)};
      }
    return host_.judge(now, timeout_seconds_);
  }
  bool root_in_step() const override { return host_.state.in_step; }
  void extend_deadlines(Clock::duration gap) override { host_.heard += gap; }
  void complain(const RankState& mine) override { host_.link.send(make_message(Kind::complaint, mine)); }
  void announce(const RunEnd& run_end) override { host_.link.send(make_message(run_end)); }
  void leave() override { host_.link.send(make_message(Kind::farewell)); }

 private:
  const double timeout_seconds_;
  Peer host_;
};

Descriptor connect_to(std::uint32_t ip, std::uint16_t port) {
  Descriptor result(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = port;
  address.sin_addr.s_addr = ip;
  if (!result.valid()) return Descriptor();
  if (connect(result.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return result;
  if (errno != EINPROGRESS) return Descriptor();
  pollfd wanted{result.get(), POLLOUT, 0};
  int failure = 0;
  socklen_t length = sizeof failure;
  if (poll(&wanted, 1, static_cast<int>(patience_to_connect.count())) != 1 ||
      getsockopt(result.get(), SOL_SOCKET, SO_ERROR, &failure, &length) != 0 || failure != 0)
    return Descriptor();
  return result;
}

bool is_welcome(Link& link) {
  const auto deadline = Heartbeat::Clock::now() + patience_for_welcome;
  while (!link.ended() && Heartbeat::Clock::now() < deadline) {
    pollfd wanted{link.descriptor(), POLLIN, 0};
    poll(&wanted, 1, /*milliseconds=*/100);
    for (const auto& message : link.receive())
      if (message.kind == Kind::welcome) return true;
  }
  return false;
}

}  // namespace

std::unique_ptr<HeartbeatHost> host_heartbeat(double timeout_seconds) {
  return std::make_unique<Host>(timeout_seconds);
}

std::unique_ptr<Heartbeat> join_heartbeat(int rank, const HeartbeatInvitation& invitation, double timeout_seconds) {
  for (std::uint32_t i = 0; i < invitation.address_count; ++i) {
    auto connection = connect_to(invitation.addresses[i], invitation.port);
    if (!connection.valid()) continue;
    Link link(std::move(connection), rank, invitation.secret);
    link.send(make_message(Kind::hello));
    if (is_welcome(link)) return std::make_unique<Client>(std::move(link), timeout_seconds);
  }
  return nullptr;
}

}  // namespace spankey
