// Collective communication between the ranks of a run. Tensors go in and come out.
//
// The public functions state and check the contract once for every back end. The back ends implement the private do_*.
// Every collective has a deadline. Only one thread at a time may use a communicator. Code that communicates from two
// threads gets a second communicator with split().
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

// Every rank throws this at the same point, so that no rank is left waiting in a collective and all can end in order.
// The message is empty on the ranks that have nothing of their own to report.
class AgreedError : public Error {
 public:
  using Error::Error;
};

// A value that must be the same on every rank.
struct Claim {
  std::string what;  // "the weights"
  Digest digest;
};

// Tensors are contiguous, float32, float64, int64 or uint8, and have the same shape and type on every rank. If this
// rank can see a violation, Error(run_failed) is thrown with both values. A failure of the library below throws
// Error(run_failed) with the expression, the rank and the place. Tensors on a GPU go through pinned host copies where
// the back end knows only host memory.
class Communicator {
 public:
  struct Topology {
    int rank, size, local_rank, local_size;
    int node_rank = local_rank, node_size = local_size;  // split() passes on those of its parent
  };

  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  const Topology& topology() const { return topology_; }
  int rank() const { return topology_.rank; }
  int size() const { return topology_.size; }
  // Position among the ranks of this communicator on the same node, and their number.
  int local_rank() const { return topology_.local_rank; }
  int local_size() const { return topology_.local_size; }
  // The same among all ranks of the job, from which this communicator may have been split. These numbers assign a
  // node's devices, of which no two ranks may take the same one.
  int node_rank() const { return topology_.node_rank; }
  int node_size() const { return topology_.node_size; }

  // Copies the `tensor` of `root` to every rank.
  void broadcast(at::Tensor& tensor, int root);
  // Replaces the `tensor` of every rank by the element-wise sum, maximum or minimum over the ranks, with the same bits
  // on all of them.
  void all_reduce(at::Tensor& tensor, ReduceOp op = ReduceOp::sum);
  // Returns (size, ...), the tensors of all ranks in rank order.
  at::Tensor all_gather(const at::Tensor& tensor);
  // Sends `send` to `peer` and receives the peer's `send` in `receive`. Both sides call it. `peer` is another rank.
  void exchange(const at::Tensor& send, at::Tensor& receive, int peer);
  void barrier();

  // If true, all_reduce of a tensor on a GPU returns at once. It runs after the work already queued on the current
  // stream, and beside the work queued later. All other collectives run in the order of the current stream.
  virtual bool stream_ordered() const { return false; }
  // Makes work queued on the current stream after this call wait for every all_reduce before it. The host does not
  // wait.
  virtual void join() {}

  // Collective. The ranks with the same `color` form a communicator, ordered by `key`, then by rank.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;
  // Ends every rank of the whole job with `exit_code`. For in-process ranks it wakes them with an Error and throws one.
  [[noreturn]] virtual void abort(int exit_code) = 0;
  // Tells where the run stands ("evaluation after epoch 2"), which is reported with a lost or late rank. Not
  // collective.
  virtual void set_place(const std::string& place) = 0;
  // Does the same for a training step ("epoch 2, step 17"), whose deadline is timeout_seconds + 5 x the slowest step
  // before it. The step ends with the next call of set_place() or begin_step().
  virtual void begin_step(const std::string& place) = 0;

  // Collective. Throws AgreedError(run_failed) where a digest of any rank differs from that of rank 0. The message of
  // rank 0 names the first value that differs, the first ranks concerned and how many they are.
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
