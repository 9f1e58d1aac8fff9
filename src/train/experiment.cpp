#include "train/experiment.h"

#include <nlohmann/json.hpp>

#include <algorithm>

#include "base/digest.h"
#include "base/error.h"
#include "base/log.h"
#include "data/sampler.h"
#include "dist/on_all_ranks.h"
#include "record/early_stop.h"
#include "spankey/models/precision.h"
#include "spankey/models/registry.h"
#include "train/access_report.h"

namespace spankey {
namespace {

std::vector<std::int64_t> key_dimensions(const Config& config, const Model& model) {
  const auto points = model.injection_points();
  std::vector<std::int64_t> dims;
  for (const auto layer : config.key.layers) dims.push_back(points.at(static_cast<std::size_t>(layer)).size());
  return dims;
}

void require_precision(const Config& config, const Placement& placement) {
  if (config.train.precision == Precision::bf16 && placement.device.is_cpu() && !cpu_has_bf16())
    fail_key(config, "train.precision",
             "this processor has no bfloat16 instructions (AVX512_BF16 or AMX_BF16); accepted: float32");
}

// Returns the samples that data.limit chooses, empty for all.
std::vector<std::int64_t> limited(const Dataset& dataset, std::int64_t limit) {
  if (limit == 0 || limit >= dataset.train().size) return {};
  return balanced_subset(dataset.train().labels, dataset.info().classes, limit);
}

// Returns the digest of the weights.
std::string start_from(const InitialWeights& init, const Model& model, const Config& config) {
  load_weights(init.tensors, model, init.file);
  auto digest = to_hex(weights_digest(model));
  if (const auto& wanted = config.train.init_digest; !wanted.empty() && wanted != digest)
    fail_key(config, "train.init_digest", fmt::format("--init {} holds the weights {}", init.file, digest));
  return digest;
}

void warn_of_absent_classes(const char* split, const std::vector<std::int64_t>& counts,
                            const std::vector<std::string>& names) {
  constexpr std::size_t most_names = 8;
  std::vector<std::string> absent;
  for (std::size_t c = 0; c < counts.size(); ++c)
    if (counts[c] == 0) absent.push_back(names[c]);
  if (absent.empty()) return;
  const std::size_t shown = std::min(absent.size(), most_names);
  log::warning("the {} split has no sample of {} of {} classes: {}{}", split, absent.size(), counts.size(),
               fmt::join(absent.begin(), absent.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
               shown < absent.size() ? ", ..." : "");
}

}  // namespace

std::int64_t Experiment::train_samples() const {
  return train_subset.empty() ? dataset->train().size : static_cast<std::int64_t>(train_subset.size());
}

std::string digest_with_limit(const Dataset& dataset, std::int64_t limit) {
  const auto subset = limited(dataset, limit);
  if (subset.empty() || subset.back() == limit - 1) return dataset.info().digest;
  Sha256 hash;
  hash.update(dataset.info().digest);
  for (const std::int64_t sample : subset) hash.update_int64(sample);
  return to_hex(hash.finish());
}

void tell_classes(const Experiment& experiment) {
  const Dataset& data = *experiment.dataset;
  auto train = data.class_counts(data.train());
  if (const auto& subset = experiment.train_subset; !subset.empty()) {
    train.assign(train.size(), 0);
    for (const std::int64_t sample : subset)
      ++train[static_cast<std::size_t>(data.train().labels[static_cast<std::size_t>(sample)])];
    const auto [least, most] = std::minmax_element(train.begin(), train.end());
    log::info("data.limit = {}: of {} training samples {}, {} to {} of each class", experiment.config.data.limit,
              data.train().size, subset.size(), *least, *most);
  }
  warn_of_absent_classes("training", train, data.info().class_names);
  warn_of_absent_classes("test", data.class_counts(data.test()), data.info().class_names);
}

void check_early_stop(const Config& config) {
  const EarlyStop rule(config);
  if (!rule.on()) return;
  auto evaluation = sample_evaluation(config);
  for (const char* name : {"loss", "ce", "deny"}) evaluation.erase(name);  // of a step, and measured on its batch alone
  rule.require_known(config, evaluation);
}

std::shared_ptr<const Dataset> open_data(const DataConfig& config, Communicator& communicator) {
  const bool rendered = config.file.starts_with("builtin:"), first = communicator.rank() == 0;
  auto dataset = on_all_ranks(communicator, [&]() -> std::shared_ptr<const Dataset> {
    if (rendered && !first) return nullptr;
    return Dataset::open(config.file, communicator.local_rank() == 0 ? config.verify : Verify::never);
  });
  if (!rendered || communicator.size() == 1) return dataset;
  auto bytes = communicator.broadcast_bytes(first ? dataset->image() : std::vector<std::byte>(), 0);
  return first ? dataset : Dataset::from_image(std::move(bytes), config.file);
}

Experiment make_experiment(Config config, const Placement& placement, std::shared_ptr<const Dataset> dataset,
                           const InitialWeights* init) {
  Experiment experiment;
  config = canonical(std::move(config));
  experiment.deny = &find_deny_loss(config.deny.mode);
  require_precision(config, placement);
  check_early_stop(config);
  experiment.dataset = dataset ? std::move(dataset) : Dataset::open(config.data.file, config.data.verify);
  const auto& info = experiment.dataset->info();
  check_data(config, {info.sample_shape, info.classes, experiment.dataset->train().size});
  experiment.model = make_model(config.model.name, {.sample_shape = info.sample_shape,
                                                    .classes = info.classes,
                                                    .reject_class = experiment.deny->reject == RejectKind::reject_class,
                                                    .reject_head = experiment.deny->reject == RejectKind::reject_head,
                                                    .deny_statistics = config.model.batchnorm == BatchNorm::split,
                                                    .precision = config.train.precision});
  initialise(*experiment.model, static_cast<std::uint64_t>(config.run.seed));
  if (init) config.train.init_digest = start_from(*init, *experiment.model, config);
  experiment.key_dims = key_dimensions(config, *experiment.model);
  experiment.train_subset = limited(*experiment.dataset, config.data.limit);
  experiment.hash = config_hash(config, digest_with_limit(*experiment.dataset, config.data.limit));
  experiment.config = std::move(config);
  experiment.model->move_to(placement.device);
  experiment.placement = placement;
  return experiment;
}

void require_full_batches(const Experiment& experiment, int world_size) {
  const auto& config = experiment.config;
  if (!config.model.sync_batchnorm) return;
  const auto last = config.train.drop_last ? 0 : experiment.train_samples() % config.train.global_batch;
  const auto smallest = last > 0 ? last : config.train.global_batch;
  if (smallest < world_size)
    fail_key(config, "model.sync_batchnorm",
             fmt::format("a batch of {} samples is too small for {} ranks; accepted: false, another "
                         "train.global_batch, or train.drop_last = true",
                         smallest, world_size));
}

}  // namespace spankey
