#include "diagnose/diagnosed_run.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "base/log.h"
#include "base/shutdown.h"
#include "data/assembler.h"
#include "dist/stop_rounds.h"

namespace spankey {
namespace {

// A diagnosis starts from the key 0, which has to be the network without a key, and takes derivatives by the key.
void require_smooth_keys(const Config& config) {
  if (config.key.inject == Inject::mul && config.key.multiplier == Multiplier::sign)
    fail_key(config, "key.multiplier",
             "the key 0 is not the network without a key; accepted for a diagnosis: clamp, exp or sym");
  if (!config.key.permute.empty())
    fail_key(config, "key.permute",
             "where features change places there is no derivative by the key; accepted for a diagnosis: []");
}

const Experiment& with_keys(const Experiment& experiment) {
  if (experiment.config.train.twin == Twin::vanilla)
    fail_key(experiment.config, "train.twin",
             "the vanilla twin has no keys to diagnose; accepted: none, noise, fixed_key");
  require_smooth_keys(experiment.config);
  return experiment;
}

// The laws that a diagnosis compares with are about what lies outside of the span of the valid keys, so the span must
// not fill the space.
void require_room_beside_keys(const KeySpace& space, const Config& config) {
  for (const auto& slot : space.slots())
    if (slot.dimension() >= slot.width())
      fail_key(config, "key.m",
               fmt::format("the valid keys span all {} dimensions of a layer, so that every wrong key is valid; "
                           "accepted for a diagnosis: at most {}",
                           slot.width(), slot.width() - 1));
}

// Returns the samples of one batch. Derivatives of all outputs by the keys must fit into memory (128 MiB of float64).
// With all keys a batch must take seconds at most, because a rank that is asked to stop waits for the batches of the
// others. The result does not depend on the number of ranks, so that every number works on the same batches.
std::int64_t diagnose_batch(const KeySpace& space, std::int64_t outputs, std::int64_t keys) {
  constexpr std::int64_t elements = 1 << 24, answers = 1 << 16, most = 64;
  return std::clamp<std::int64_t>(std::min(elements / (space.width() * outputs), answers / keys), 1, most);
}

std::vector<std::int64_t> spread_samples(std::int64_t wanted, std::int64_t available) {
  const std::int64_t count = std::min(wanted, available);
  std::vector<std::int64_t> samples;
  for (std::int64_t i = 0; i < count; ++i) samples.push_back(i * available / count);
  return samples;
}

}  // namespace

DiagnoseRun::DiagnoseRun(LoadedRun& run, const DiagnoseOptions& options, Communicator& communicator)
    : run_(run),
      communicator_(communicator),
      keys_(with_keys(run.experiment).config, run.basis),
      space_(run.experiment.config.key, run.basis),
      samples_(spread_samples(options.samples, run.experiment.dataset->test().size)),
      batch_(diagnose_batch(space_, run.experiment.dataset->info().classes + 1, options.keys)) {
  require_room_beside_keys(space_, config());
  model().eval();
  for (const auto& parameter : model().parameters()) parameter.requires_grad_(false);
  StopRounds stop(communicator);
  for (std::int64_t i = 0; i < options.keys; ++i) {
    valid_.push_back(space_.keys_of(keys_.evaluation_correct(i, config().train.global_batch)));
    wrong_.push_back(space_.keys_of(keys_.evaluation_wrong(i, config().train.global_batch)));
    stop.next();
  }
  for (const auto& slot : all_wrong())
    wrong_std_.push_back(std::sqrt(slot.to(at::kDouble).square().mean().item<double>()));
  const auto classes = run.experiment.dataset->info().classes;
  views_.push_back({"class_logits", "class logits", {classes, RejectKind::none}});
  const auto reject = run.experiment.deny->reject;
  if (reject != RejectKind::none) views_.push_back({"as_shipped", "as shipped", {classes, reject}});
}

std::vector<at::Tensor> DiagnoseRun::all_wrong() const {
  std::vector<at::Tensor> slots;
  for (std::size_t s = 0; s < wrong_.front().size(); ++s) {
    std::vector<at::Tensor> rows;
    for (const auto& key : wrong_) rows.push_back(key[s]);
    slots.push_back(at::cat(rows));
  }
  return slots;
}

void DiagnoseRun::each_batch(const std::string& what, const std::function<void(const Batch&)>& work) {
  constexpr auto silence = std::chrono::seconds(5);
  const auto& dataset = *experiment().dataset;
  const Assembler assemble(dataset, dataset.test(), Augment::none, seed(), Purpose::eval_augment);
  const std::int64_t batches = (samples() + batch_ - 1) / batch_;
  each(batches, [&](std::int64_t b) {
    Batch batch{b, b * batch_, std::min(samples(), (b + 1) * batch_), {}, {}};
    assemble(std::span(samples_).subspan(static_cast<std::size_t>(batch.begin), static_cast<std::size_t>(batch.size())),
             /*epoch=*/0, batch.x, batch.labels);
    work(batch);
    if (std::chrono::steady_clock::now() - told_ < silence) return;
    told_ = std::chrono::steady_clock::now();
    log::info("{}: batch {} of {}", what, b + 1, batches);
  });
}

// What a rank has left half done is never put together, because that rank wants to stop.
void DiagnoseRun::each(std::int64_t count, const std::function<void(std::int64_t)>& work) {
  const std::int64_t ranks = communicator_.size(), rounds = (count + ranks - 1) / ranks;
  StopRounds stop(communicator_);  // its own one, since the time that a round takes is another for each kind of work
  for (std::int64_t round = 0; round < rounds; ++round) {
    const auto mine = round * ranks + communicator_.rank();
    try {
      if (mine < count && stop.wish() == 0) work(mine);
    } catch (const Left&) {
    }
    stop.next();
  }
  stop.settle();
}

void DiagnoseRun::leave_if_asked() const {
  if (shutdown::requested()) throw Left();
}

std::vector<double> to_doubles(const at::Tensor& values) {
  const at::Tensor dense = values.contiguous();
  const double* first = dense.const_data_ptr<double>();
  return {first, first + dense.numel()};
}

std::vector<double> defined_doubles(const at::Tensor& values) {
  auto all = to_doubles(values);
  std::erase_if(all, [](double v) { return std::isnan(v); });
  return all;
}

double mean_of(const at::Tensor& values) {
  return values.to(at::kDouble).mean().item<double>();
}

}  // namespace spankey
