#include "data/loader.h"

#include <span>
#include <utility>

namespace spankey {

Loader::Loader(std::shared_ptr<const Dataset> dataset, Sampler sampler, Assembler assembler, std::int64_t shards,
               std::int64_t first_shard, std::int64_t shard_count, bool prefetch)
    : dataset_(std::move(dataset)),
      sampler_(std::move(sampler)),
      assembler_(std::move(assembler)),
      shards_(shards),
      first_shard_(first_shard),
      shard_count_(shard_count) {
  if (prefetch) helper_ = std::make_unique<Worker>();
}

Batch Loader::load(std::int64_t epoch, std::int64_t step) {
  const Place place{epoch, step};
  if (!helper_) return make(place, /*on_helper=*/false);
  if (ordered_ != place) {
    helper_->settle();  // Nobody will ask for what it is making, nor for the error of that.
    order(place);
  }
  ordered_.reset();
  helper_->finish();
  Batch batch = std::move(batch_);
  order(after(place));
  return batch;
}

void Loader::order(Place place) {
  ordered_ = place;
  helper_->give([this, place] { batch_ = make(place, /*on_helper=*/true); });
}

Batch Loader::make(Place place, bool on_helper) const {
  Batch batch;
  batch.samples = sampler_.global_batch(place.epoch, place.step);
  const auto global = static_cast<std::int64_t>(batch.samples.size());
  batch.range = block_range(global, shards_, first_shard_, shard_count_);
  const auto mine = std::span<const std::int64_t>(batch.samples)
                        .subspan(static_cast<std::size_t>(batch.range.begin),
                                 static_cast<std::size_t>(batch.range.end - batch.range.begin));
  // The helper does not take the compute threads away from the step that is running.
  if (on_helper) {
    assembler_.serially(mine, place.epoch, batch.x, batch.labels);
  } else {
    assembler_(mine, place.epoch, batch.x, batch.labels);
  }
  return batch;
}

Loader::Place Loader::after(Place place) const {
  if (place.step + 1 < sampler_.steps_per_epoch()) return {place.epoch, place.step + 1};
  return {place.epoch + 1, 0};
}

}  // namespace spankey
