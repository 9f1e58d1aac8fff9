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
  if (prefetch) helper_ = std::thread([this] { help(); });
}

Loader::~Loader() {
  if (!helper_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  helper_.join();
}

Batch Loader::load(std::int64_t epoch, std::int64_t step) {
  const Place place{epoch, step};
  if (!helper_.joinable()) return make(place, /*on_helper=*/false);

  std::unique_lock lock(mutex_);
  const auto ready = [this] { return batch_.has_value() || error_ != nullptr; };
  const auto order = [&](std::optional<Place> next) {
    batch_.reset();
    error_ = nullptr;
    wanted_ = next;
    changed_.notify_all();
  };
  if (wanted_ && *wanted_ != place) changed_.wait(lock, ready);  // let it finish the batch that will not be used
  if (wanted_ != place) order(place);
  changed_.wait(lock, ready);
  if (error_ != nullptr) {
    const auto error = error_;
    order(std::nullopt);
    std::rethrow_exception(error);
  }
  Batch batch = std::move(*batch_);
  order(after(place));
  return batch;
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

void Loader::help() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || (wanted_ && !batch_ && error_ == nullptr); });
    if (stop_) return;
    const Place place = *wanted_;
    lock.unlock();
    std::optional<Batch> batch;
    std::exception_ptr error;
    try {
      batch = make(place, /*on_helper=*/true);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    batch_ = std::move(batch);
    error_ = error;
    changed_.notify_all();
  }
}

}  // namespace spankey
