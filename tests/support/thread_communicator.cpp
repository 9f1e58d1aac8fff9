#include "support/thread_communicator.h"

#include <ATen/Functions.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

#include "base/error.h"

namespace spankey {
namespace {

// The state that all communicators of one make_thread_communicators() share. One lock is enough for tests.
struct Family {
  Family(int ranks, double seconds) : size(ranks), timeout(seconds) {}

  int size;
  std::chrono::duration<double> timeout;
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<std::string> broken;  // the reason to stop waiting
};

// The meeting point of the ranks of one communicator.
struct Group {
  explicit Group(int size) : deposits(static_cast<std::size_t>(size)) {}

  struct Deposit {
    std::string operation;
    at::Tensor tensor;
  };
  std::vector<Deposit> deposits;
  std::size_t arrived = 0;
  std::int64_t generation = 0;
  std::map<std::pair<int, int>, std::deque<at::Tensor>> mail;          // (from, to)
  std::map<std::pair<int, int>, std::shared_ptr<Group>> split_groups;  // (number of the split, color)
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Family> family, std::shared_ptr<Group> group, int rank, int size, int node_rank)
      : Communicator({.rank = rank,
                      .size = size,
                      .local_rank = rank,
                      .local_size = size,
                      .node_rank = node_rank,
                      .node_size = family->size}),
        family_(std::move(family)),
        group_(std::move(group)) {}

  std::unique_ptr<Communicator> split(int color, int key) override;
  void abort(int exit_code) override;
  void set_place(const std::string& place) override { place_ = place; }
  void begin_step(const std::string& place) override { place_ = place; }

 private:
  void do_broadcast(at::Tensor& tensor, int root) override;
  void do_all_reduce(at::Tensor& tensor, ReduceOp op) override;
  void do_all_gather(const at::Tensor& tensor, at::Tensor& gathered) override;
  void do_exchange(const at::Tensor& send, at::Tensor& receive, int peer) override;
  void do_barrier() override {
    meet("barrier", {}, [](const auto&) {});
  }

  // All ranks deposit a tensor, then each reads the tensors of all. No rank returns before all have read.
  template <class Read>
  void meet(const char* operation, const at::Tensor& tensor, Read&& read);
  void wait_for_all(std::unique_lock<std::mutex>& lock, const char* operation);
  template <class Ready>
  void wait(std::unique_lock<std::mutex>& lock, const char* operation, Ready&& ready);
  void check_deposits(const char* operation) const;

  std::shared_ptr<Family> family_;
  std::shared_ptr<Group> group_;
  int splits_ = 0;
  std::string place_ = "before the first step";
};

template <class Ready>
void ThreadCommunicator::wait(std::unique_lock<std::mutex>& lock, const char* operation, Ready&& ready) {
  family_->changed.wait_for(lock, family_->timeout, [&] { return family_->broken.has_value() || ready(); });
  if (ready()) return;  // also where another rank has failed since
  if (family_->broken) fail_run("rank {}: {} given up: {}", rank(), operation, *family_->broken);
  fail_run("rank {}: {} with {} ranks has waited longer than {:g} s, {}", rank(), operation, size(),
           family_->timeout.count(), place_);
}

void ThreadCommunicator::wait_for_all(std::unique_lock<std::mutex>& lock, const char* operation) {
  const auto generation = group_->generation;
  if (++group_->arrived == group_->deposits.size()) {
    group_->arrived = 0;
    ++group_->generation;
    family_->changed.notify_all();
  }
  wait(lock, operation, [&] { return group_->generation != generation; });
}

void ThreadCommunicator::check_deposits(const char* operation) const {
  const auto& mine = group_->deposits[static_cast<std::size_t>(rank())];
  for (std::size_t other = 0; other < group_->deposits.size(); ++other) {
    const auto& theirs = group_->deposits[other];
    if (theirs.operation != operation)
      fail_run("rank {} calls {} while rank {} calls {}", rank(), operation, other, theirs.operation);
    if (mine.tensor.defined() &&
        (mine.tensor.sizes() != theirs.tensor.sizes() || mine.tensor.scalar_type() != theirs.tensor.scalar_type()))
      fail_run("{}: rank {} has {} elements of {}, rank {} has {} elements of {}", operation, rank(),
               mine.tensor.numel(), at::toString(mine.tensor.scalar_type()), other, theirs.tensor.numel(),
               at::toString(theirs.tensor.scalar_type()));
  }
}

template <class Read>
void ThreadCommunicator::meet(const char* operation, const at::Tensor& tensor, Read&& read) {
  std::unique_lock lock(family_->mutex);
  group_->deposits[static_cast<std::size_t>(rank())] = {operation, tensor};
  wait_for_all(lock, operation);
  check_deposits(operation);
  read(group_->deposits);
  wait_for_all(lock, operation);
}

void ThreadCommunicator::do_broadcast(at::Tensor& tensor, int root) {
  meet("broadcast", tensor, [&](const auto& deposits) {
    if (rank() != root) tensor.copy_(deposits[static_cast<std::size_t>(root)].tensor);
  });
}

void ThreadCommunicator::do_all_reduce(at::Tensor& tensor, ReduceOp op) {
  at::Tensor result;
  meet("all_reduce", tensor, [&](const auto& deposits) {
    result = deposits[0].tensor.clone();
    for (std::size_t other = 1; other < deposits.size(); ++other) {
      const auto& term = deposits[other].tensor;
      result = op == ReduceOp::sum   ? result.add_(term)
               : op == ReduceOp::max ? at::maximum(result, term)
                                     : at::minimum(result, term);
    }
  });
  tensor.copy_(result);
}

void ThreadCommunicator::do_all_gather(const at::Tensor& tensor, at::Tensor& gathered) {
  meet("all_gather", tensor, [&](const auto& deposits) {
    for (int other = 0; other < size(); ++other)
      gathered[other].copy_(deposits[static_cast<std::size_t>(other)].tensor);
  });
}

void ThreadCommunicator::do_exchange(const at::Tensor& send, at::Tensor& receive, int peer) {
  std::unique_lock lock(family_->mutex);
  group_->mail[{rank(), peer}].push_back(send.clone());
  family_->changed.notify_all();
  auto& inbox = group_->mail[{peer, rank()}];
  wait(lock, "exchange", [&] { return !inbox.empty(); });
  receive.copy_(inbox.front());
  inbox.pop_front();
}

std::unique_ptr<Communicator> ThreadCommunicator::split(int color, int key) {
  const auto mine = at::tensor({std::int64_t{color}, std::int64_t{key}}, at::kLong);
  const auto all = all_gather(mine);  // (size, 2)
  const auto* values = all.const_data_ptr<std::int64_t>();
  std::vector<int> members;
  for (int other = 0; other < size(); ++other)
    if (values[2 * other] == color) members.push_back(other);
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) { return values[2 * a + 1] < values[2 * b + 1]; });
  const int number = splits_++;
  if (color < 0) return nullptr;
  const int part_rank = static_cast<int>(std::find(members.begin(), members.end(), rank()) - members.begin());
  const int part_size = static_cast<int>(members.size());
  const std::lock_guard lock(family_->mutex);
  auto& group = group_->split_groups[{number, color}];
  if (!group) group = std::make_shared<Group>(part_size);
  return std::make_unique<ThreadCommunicator>(family_, group, part_rank, part_size, node_rank());
}

void ThreadCommunicator::abort(int exit_code) {
  {
    const std::lock_guard lock(family_->mutex);
    if (!family_->broken) family_->broken = fmt::format("rank {} aborted with exit code {}", rank(), exit_code);
  }
  family_->changed.notify_all();
  throw Error(static_cast<ExitCode>(exit_code), *family_->broken);
}

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_thread_communicators(int size, double timeout_seconds) {
  SPANKEY_CHECK_GE(size, 1);
  const auto family = std::make_shared<Family>(size, timeout_seconds);
  const auto group = std::make_shared<Group>(size);
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (int rank = 0; rank < size; ++rank)
    communicators.push_back(std::make_unique<ThreadCommunicator>(family, group, rank, size, rank));
  return communicators;
}

}  // namespace spankey
