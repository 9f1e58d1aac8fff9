#include "dist/reducer.h"

#include <ATen/Functions.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace spankey {
namespace {

std::vector<std::int64_t> sizes_bytes(const FlatParameters& flat) {
  std::vector<std::int64_t> sizes;
  for (const auto& entry : flat.entries()) sizes.push_back(entry.size * entry.parameter.element_size());
  return sizes;
}

std::int64_t count_local_shards(const ReducerOptions& options, int ranks) {
  if (options.reduction != Reduction::elastic) return 0;
  check_elastic(options.shards, ranks);
  return options.shards / ranks;
}

// Elements of the flat tensors, gaps included.
std::pair<std::int64_t, std::int64_t> range_of(const Bucket& bucket, const FlatParameters& flat) {
  const auto& entries = flat.entries();
  const auto offset = [&](std::int64_t entry) {
    const auto index = static_cast<std::size_t>(entry);
    return index < entries.size() ? entries[index].offset : flat.size();
  };
  return {offset(bucket.first), offset(bucket.last)};
}

}  // namespace

struct Reducer::Hook final : torch::autograd::FunctionPostHook {
  Hook(Reducer& owner, std::size_t its_entry) : reducer(owner), entry(its_entry) {}
  torch::autograd::variable_list operator()(const torch::autograd::variable_list& outputs,
                                            const torch::autograd::variable_list&) override {
    reducer.on_gradient(entry);
    return outputs;
  }
  Reducer& reducer;
  std::size_t entry;
};

Reducer::Reducer(FlatParameters& flat, Communicator& communicator, const ReducerOptions& options)
    : flat_(flat),
      elastic_(options.reduction == Reduction::elastic),
      local_shards_(count_local_shards(options, communicator.size())),
      buckets_(plan_buckets(sizes_bytes(flat), options.bucket_bytes)) {
  const auto wide = flat.gradients().options().dtype(at::kDouble);
  extras_ = at::zeros({options.extra}, wide);
  extras_sum_ = at::zeros({options.extra}, wide);
  communicator_ = communicator.split(/*color=*/0, communicator.rank());

  std::int64_t longest = 0;
  for (std::size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    const auto [begin, end] = range_of(buckets_[bucket], flat_);
    longest = std::max(longest, end - begin);
    bucket_of_.insert(bucket_of_.end(), static_cast<std::size_t>(buckets_[bucket].last - buckets_[bucket].first),
                      bucket);
  }
  if (elastic_) {
    gradient_tree_.emplace(local_shards_);
    extras_tree_.emplace(local_shards_);
    if (communicator_->size() > 1) {
      scratch_ = at::empty({longest}, flat.gradients().options());
      extras_scratch_ = at::empty({options.extra}, wide);
    }
  }
  // Writes of backward on a device are ordered by its stream, which another thread does not see.
  const bool may_leave_early = communicator_->stream_ordered() || flat.gradients().is_cpu();
  if (options.overlap && may_leave_early && communicator_->size() > 1) early_buckets_ = buckets_.size() - 1;
  install_hooks();
  if (early_buckets_ > 0 && !communicator_->stream_ordered()) thread_ = std::make_unique<Worker>();
}

// The thread may be in a collective without peers, which is ended by its deadline.
Reducer::~Reducer() {
  for (const auto& [node, key] : hooks_) node->del_post_hook(key);
}

// Post hooks of the AccumulateGrad nodes. Tensors hold their accumulator weakly, so the node is kept to keep the hook.
void Reducer::install_hooks() {
  for (std::size_t entry = 0; entry < flat_.entries().size(); ++entry) {
    auto node = torch::autograd::impl::grad_accumulator(flat_.entries()[entry].parameter);
    const auto key = node->add_post_hook(std::make_unique<Hook>(*this, entry));
    hooks_.emplace_back(std::move(node), key);
  }
}

void Reducer::begin_shard(bool last) {
  const std::lock_guard lock(mutex_);
  SPANKEY_CHECK(phase_ == Phase::idle || phase_ == Phase::between_shards);
  flat_.check_attached();
  if (phase_ == Phase::idle) shard_ = 0;
  if (elastic_) SPANKEY_CHECK_EQ(last, shard_ + 1 == local_shards_);
  // Under fast, a rank's shards add up where autograd puts them.
  if (elastic_ || phase_ == Phase::idle) flat_.gradients().zero_();
  extras_.zero_();

  arrived_.assign(flat_.entries().size(), 0);
  missing_.clear();
  for (const auto& bucket : buckets_) missing_.push_back(bucket.last - bucket.first);
  released_ = gradients_wanted_ ? 0 : buckets_.size();
  last_shard_ = last;
  phase_ = Phase::in_shard;
}

// Called by autograd on whichever thread runs backward.
void Reducer::on_gradient(std::size_t entry) {
  const std::lock_guard lock(mutex_);
  if (phase_ != Phase::in_shard) return;  // a backward that is none of ours
  flat_.check_attached(entry);
  if (arrived_[entry])
    fail_run("a second backward reached {} in one shard; its gradient may already have left",
             flat_.entries()[entry].name);
  arrived_[entry] = 1;
  --missing_[bucket_of_[entry]];
  if (last_shard_) release_ready_buckets();
}

void Reducer::release_ready_buckets() {
  for (; released_ < early_buckets_ && missing_[released_] == 0; ++released_) {
    if (thread_)
      thread_->give([this, bucket = released_] { reduce_bucket(bucket); });
    else
      reduce_bucket(released_);
  }
}

void Reducer::send_extras() {
  const std::lock_guard lock(mutex_);
  SPANKEY_CHECK(phase_ == Phase::in_shard);
  SPANKEY_CHECK_EQ(released_, std::size_t{0});
  if (!last_shard_ || early_buckets_ == 0 || extras_sent_) return;
  extras_sent_ = true;
  if (thread_)
    thread_->give([this, earlier = shard_ > 0] { reduce_extras(earlier); });
  else
    reduce_extras(/*earlier_shards=*/shard_ > 0);
}

void Reducer::end_shard() {
  const std::lock_guard lock(mutex_);
  SPANKEY_CHECK(phase_ == Phase::in_shard);
  flat_.check_attached();
  ++shard_;
  if (last_shard_) {
    // Gradients that have not arrived by now will not arrive.
    std::fill(missing_.begin(), missing_.end(), 0);
    release_ready_buckets();
    phase_ = Phase::complete;
    return;
  }
  if (elastic_) {
    auto gradients = flat_.gradients();
    if (gradients_wanted_) gradient_tree_->add(gradients);
    extras_tree_->add(extras_);
  } else {
    extras_sum_.add_(extras_);
  }
  phase_ = Phase::between_shards;
}

void Reducer::finish() {
  const std::lock_guard lock(mutex_);
  SPANKEY_CHECK(phase_ == Phase::complete);
  if (thread_) thread_->finish();
  for (; released_ < buckets_.size(); ++released_) reduce_bucket(released_);
  if (!std::exchange(extras_sent_, false)) reduce_extras(/*earlier_shards=*/shard_ > 1);
  communicator_->join();
  if (elastic_) {
    gradient_tree_->restart();
    extras_tree_->restart();
  }
  phase_ = Phase::idle;
}

void Reducer::reduce_bucket(std::size_t bucket) {
  const auto [begin, end] = range_of(buckets_[bucket], flat_);
  auto slice = flat_.gradients().narrow(0, begin, end - begin);
  reduce(slice, gradient_tree_, begin, scratch_);
}

void Reducer::reduce_extras(bool earlier_shards) {
  if (extras_.numel() == 0) return;
  if (!elastic_ && earlier_shards) {
    extras_.add_(extras_sum_);
    extras_sum_.zero_();
  }
  reduce(extras_, extras_tree_, 0, extras_scratch_);
}

void Reducer::reduce(at::Tensor& slice, const std::optional<TreeSum>& tree, std::int64_t begin,
                     const at::Tensor& scratch) {
  if (!elastic_) return communicator_->all_reduce(slice);
  tree->complete(slice, begin);
  if (communicator_->size() > 1) tree_all_reduce(*communicator_, slice, scratch);
}

}  // namespace spankey
