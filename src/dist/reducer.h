// Sums the gradients of all shards of all ranks while backward still runs.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/worker.h"
#include "config/enums.h"
#include "dist/bucket_plan.h"
#include "dist/communicator.h"
#include "dist/flat_parameters.h"
#include "dist/tree_sum.h"

namespace torch::autograd {
struct Node;
}

namespace spankey {

struct ReducerOptions {
  // `fast` adds a rank's shards in place and sums over ranks with the library's all-reduce. `elastic` adds all shards
  // as one balanced tree, which gives the same bits for every number of ranks.
  Reduction reduction = Reduction::fast;
  std::int64_t shards = 0;  // shards of the whole run, read under elastic only
  std::int64_t bucket_bytes = std::int64_t{1} << 20;
  std::int64_t extra = 0;  // number of values that travel with the gradients
  bool overlap = true;     // false sends every bucket in finish()
};

// One step of a rank is
//
//   for each of its shards:  begin_shard(last?); forward; backward; extras() = ...; end_shard();
//   finish();                // flat.gradients() and extras() hold the sum over all shards of all ranks
//
// Hooks on the gradient accumulators notice which gradients are final. During the last shard's backward, full buckets
// go to a communication thread, strictly in the order of the plan. All ranks therefore communicate in one order,
// whatever the order in which their hooks run. The last bucket has no computation left to hide behind and is reduced in
// finish() on the caller's thread. A plan of one bucket, or one rank, needs no thread. A stream-ordered communicator
// needs none either, since the hooks start its collectives themselves, beside backward on the device, and finish()
// joins them without making the host wait. Gradients on a device under any other communicator are all sent in finish().
// A parameter without a gradient counts as zero. A shard without backward (an empty one) is a sum of zeros.
//
// At most one backward of a shard may reach a parameter. finish() throws errors of the communication thread. The
// reducer cannot be used after any error. Under elastic, Error(bad_input) is thrown where shards and ranks do not fit.
class Reducer {
 public:
  // Collective, because it splits off a communicator of its own. `flat` must outlive the reducer.
  Reducer(FlatParameters& flat, Communicator& communicator, const ReducerOptions& options);
  ~Reducer();
  Reducer(const Reducer&) = delete;
  Reducer& operator=(const Reducer&) = delete;

  // Zeroes the memory to which the shard's backward adds. Throws when a gradient has been detached from the flat
  // tensor.
  void begin_shard(bool last);
  at::Tensor extras() const { return extras_; }  // (extra) float64, zero at the begin of a shard
  // Says that the extras of this shard are final. In the last shard they leave now, beside backward, where buckets do.
  // Every rank calls it in its last shard, before any gradient of it, or none does.
  void send_extras();
  void end_shard();
  void finish();

  // Call this between steps with the same value on every rank. It says whether the gradients are summed from now on, or
  // only the extras.
  void sum_gradients(bool wanted) { gradients_wanted_ = wanted; }

  const std::vector<Bucket>& buckets() const { return buckets_; }

 private:
  struct Hook;
  enum class Phase { idle, in_shard, between_shards, complete };

  void install_hooks();
  void on_gradient(std::size_t entry);
  void release_ready_buckets();
  void reduce_bucket(std::size_t bucket);
  void reduce_extras(bool earlier_shards);
  void reduce(at::Tensor& slice, const std::optional<TreeSum>& tree, std::int64_t begin, const at::Tensor& scratch);

  FlatParameters& flat_;
  std::unique_ptr<Communicator> communicator_;
  const bool elastic_;
  const std::int64_t local_shards_;  // for elastic, and 0 under fast, where it is free
  std::vector<Bucket> buckets_;
  std::vector<std::size_t> bucket_of_;    // entry -> bucket
  std::size_t early_buckets_ = 0;         // the first ones, which are sent during backward
  std::optional<TreeSum> gradient_tree_;  // elastic
  std::optional<TreeSum> extras_tree_;    // elastic
  at::Tensor extras_;                     // (extra) float64
  at::Tensor extras_sum_;                 // (extra) float64, the earlier shards under fast
  at::Tensor scratch_, extras_scratch_;   // what the peer sent, under elastic
  std::vector<std::pair<std::shared_ptr<torch::autograd::Node>, std::uintptr_t>> hooks_;

  Phase phase_ = Phase::idle;
  bool last_shard_ = false;
  bool extras_sent_ = false;
  bool gradients_wanted_ = true;
  std::int64_t shard_ = 0;
  std::vector<char> arrived_;          // entry -> has its gradient in this shard
  std::vector<std::int64_t> missing_;  // bucket -> gradients to come

  std::mutex mutex_;                // guards the hooks' state above and what follows
  std::size_t released_ = 0;        // buckets that have left
  std::unique_ptr<Worker> thread_;  // null where none is needed; the last member, because it uses everything above
};

}  // namespace spankey
