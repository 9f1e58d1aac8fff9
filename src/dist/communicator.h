// Collective communication between the ranks of a run (tensors in, tensors out).
//
// The public functions state and check the contract once for every back end; the back ends implement the private do_*.
// Every collective has a deadline. A communicator is used by one thread at a time: whoever wants to communicate from
// two threads takes a second one with split().
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "config/enums.h"

namespace spankey {

enum class ReduceOp { sum, max, min };

// Thrown on every rank at the same point, so no rank is left waiting in a collective and all may end in order. The
// message is empty on the ranks that have nothing of their own to say.
class AgreedError : public Error {
 public:
  using Error::Error;
};

// What every rank holds to be the same.
struct Claim {
  std::string what;  // "the weights"
  Digest digest;
};

// Tensors are contiguous, float32, float64, int64 or uint8, and have the same shape and type on every rank; a violation
// that this rank can see throws Error(run_failed) with both values. A failure of the library below throws
// Error(run_failed) naming expression, rank and place. Tensors on a GPU go through pinned host copies where the back
// end knows only host memory.
class Communicator {
 public:
  struct Topology {
    int rank, size, local_rank, local_size;
    int node_rank = local_rank, node_size = local_size;  // a split hands on those of its parent
  };

  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  const Topology& topology() const { return topology_; }
  int rank() const { return topology_.rank; }
  int size() const { return topology_.size; }
  // Position among, and number of, the ranks of this communicator on the same node.
  int local_rank() const { return topology_.local_rank; }
  int local_size() const { return topology_.local_size; }
  // The same among all ranks of the job, from which this communicator may have been split: what they take of a node's
  // devices must not meet.
  int node_rank() const { return topology_.node_rank; }
  int node_size() const { return topology_.node_size; }

  // `tensor` of every rank becomes that of `root`.
  void broadcast(at::Tensor& tensor, int root);
  // `tensor` of every rank becomes the element-wise sum, maximum or minimum over the ranks: the same bits on all of
  // them.
  void all_reduce(at::Tensor& tensor, ReduceOp op = ReduceOp::sum);
  // (size, ...): the tensors of all ranks in rank order.
  at::Tensor all_gather(const at::Tensor& tensor);
  // Sends `send` to `peer` and receives its `send` in `receive`; both sides call it. `peer` is another rank.
  void exchange(const at::Tensor& send, at::Tensor& receive, int peer);
  void barrier();

  // True: all_reduce of a tensor on a GPU returns at once and runs behind what the current stream has been given so
  // far, beside what it is given later. All other collectives are in the order of the current stream.
  virtual bool stream_ordered() const { return false; }
  // What comes on the current stream from here on finds the results of every all_reduce before; the host does not wait.
  virtual void join() {}

  // Collective. The ranks with the same `color` form a communicator, ordered by `key`, then by rank.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;
  // Ends every rank of the whole job with `exit_code` (in-process ranks: wakes them with an Error and throws one).
  [[noreturn]] virtual void abort(int exit_code) = 0;
  // Where the run stands ("evaluation after epoch 2"); a lost or late rank is reported with it. Not collective.
  virtual void set_place(const std::string& place) = 0;
  // The same for a training step ("epoch 2, step 17"), which has a deadline: timeout_seconds + 5 x the slowest before.
  // It ends with the next call of either.
  virtual void begin_step(const std::string& place) = 0;

  // Collective. Throws AgreedError(run_failed) where a digest of any rank differs from rank 0's, whose message names
  // the first such thing, the first ranks and how many they are.
  void agree(const std::vector<Claim>& claims);
  void agree(const Digest& digest, std::string_view what);
  std::vector<std::byte> broadcast_bytes(const std::vector<std::byte>& bytes, int root);
  std::string broadcast_string(const std::string& text, int root);

 protected:
  explicit Communicator(const Topology& topology) : topology_(topology) {}

 private:
  virtual void do_broadcast(at::Tensor& tensor, int root) = 0;
  virtual void do_all_reduce(at::Tensor& tensor, ReduceOp op) = 0;
  virtual void do_all_gather(const at::Tensor& tensor, at::Tensor& gathered) = 0;
  virtual void do_exchange(const at::Tensor& send, at::Tensor& receive, int peer) = 0;
  virtual void do_barrier() = 0;

  Topology topology_;
};

}  // namespace spankey
