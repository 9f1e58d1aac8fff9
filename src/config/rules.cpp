// The rules between keys, and between a configuration and its data.
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <initializer_list>
#include <utility>

#include "base/error.h"
#include "config/config.h"
#include "config/entries.h"
#include "config/names.h"
#include "config/value.h"

namespace spankey {
namespace {

// The key to blame where several keys break a rule together, which is the first one that the user wrote.
std::string_view written_first(const Config& config, std::initializer_list<std::string_view> keys) {
  for (const std::string_view key : keys) {
    if (config.origins.contains(key)) return key;
  }
  return *keys.begin();
}

void check_shards(const Config& config) {
  const std::int64_t shards = config.dist.shards;
  if (config.dist.reduction != Reduction::elastic || shards == 0) return;
  if (!std::has_single_bit(static_cast<std::uint64_t>(shards))) {
    fail_key(config, "dist.shards", "accepted under dist.reduction = \"elastic\": a power of two, or 0 for automatic");
  }
  if (config.train.global_batch % shards != 0) {
    fail_key(config, written_first(config, {"train.global_batch", "dist.shards"}),
             fmt::format("accepted under dist.reduction = \"elastic\": train.global_batch divisible by dist.shards; "
                         "{} is not divisible by {}",
                         config.train.global_batch, shards));
  }
}

void check_schedule(const Config& config) {
  const std::size_t count = config.optim.milestones.size();
  const auto place = written_first(config, {"optim.milestones", "optim.schedule"});
  if (config.optim.schedule == Schedule::multistep && count == 0) {
    fail_key(config, place, "accepted under optim.schedule = \"multistep\": at least one value in optim.milestones");
  }
  if (config.optim.schedule == Schedule::step && count != 1) {
    fail_key(config, place,
             "accepted under optim.schedule = \"step\": exactly one value in optim.milestones, the period");
  }
}

const NetworkFacts& network_of(const Config& config) {
  return find_named(network_facts, config.model.name, "model.name =");
}

// A valid key of a cone has coefficients that are at least 0.
void check_cone(const Config& config) {
  if (config.key.basis != BasisLaw::cone || config.key.alpha == AlphaLaw::u01 || config.key.alpha == AlphaLaw::simplex)
    return;
  fail_key(config, written_first(config, {"key.alpha", "key.basis"}),
           "has negative coefficients, which leave the cone; accepted under key.basis = \"cone\": key.alpha = \"u01\" "
           "or \"simplex\"");
}

// All valid keys must tell the same permutation, or no network could learn behind it.
void check_permute(const Config& config) {
  if (config.key.permute.empty()) return;
  if (config.key.basis != BasisLaw::cone)
    fail_key(config, written_first(config, {"key.permute", "key.basis"}),
             "valid keys have the same signs, which say what changes places, on a cone alone; accepted: key.permute = "
             "[], or key.basis = \"cone\"");
  if (config.train.twin == Twin::noise)
    fail_key(config, written_first(config, {"train.twin", "key.permute"}),
             "a noise key has signs of its own for each sample; accepted with key.permute: train.twin = \"none\", "
             "\"vanilla\" or \"fixed_key\"");
  std::vector<std::int64_t> known;
  const auto points = std::ssize(network_of(config).widths.all());
  for (std::int64_t point = 0; point < points; ++point)
    if (moves_at(config.model.name, point) != Moves::nothing) known.push_back(point);
  if (std::includes(known.begin(), known.end(), config.key.permute.begin(), config.key.permute.end())) return;
  fail_key(config, written_first(config, {"key.permute", "model.name"}),
           fmt::format("accepted for {}: injection points among {}, which have features to move", config.model.name,
                       fmt::join(known, ", ")));
}

void check_norm_clamp(const Config& config) {
  if (!config.key.norm_clamp) return;
  if (config.key.rescale != Rescale::key)
    fail_key(config, written_first(config, {"key.norm_clamp", "key.rescale"}),
             "valid keys themselves differ in size; accepted with key.norm_clamp = true: key.rescale = \"key\"");
  const auto& families = config.deny.families;
  if (std::find(families.begin(), families.end(), "scaled") != families.end())
    fail_key(config, written_first(config, {"deny.families", "key.norm_clamp"}),
             "a clamped \"scaled\" key is valid and cannot be denied; accepted with key.norm_clamp = true: "
             "deny.families without it");
}

// `sample` is the number of elements of a sample. It is 0 while the data, and the widths that depend on them, are
// unknown.
void check_layers(const Config& config, std::int64_t sample) {
  const auto widths = network_of(config).widths.all();
  std::int64_t narrowest = 0;
  for (const auto layer : config.key.layers) {
    if (layer >= std::ssize(widths)) {
      fail_key(config, written_first(config, {"key.layers", "model.name"}),
               fmt::format("{} has injection points 0 to {}; accepted: key.layers among them", config.model.name,
                           widths.size() - 1));
    }
    const auto known = widths[static_cast<std::size_t>(layer)];
    const auto width = known > 0 ? known : sample;
    if (width > 0 && (narrowest == 0 || width < narrowest)) narrowest = width;
  }
  if (narrowest > 0 && config.key.m > narrowest) {
    fail_key(config, written_first(config, {"key.m", "key.layers", "model.name"}),
             fmt::format("accepted: key.m from 1 to {}, the width of the narrowest of the layers {}", narrowest,
                         fmt::join(config.key.layers, ", ")));
  }
}

void check_batch(const Config& config, std::int64_t samples, std::string_view of_what) {
  if (!config.train.drop_last || config.train.global_batch <= samples) return;
  fail_key(config, written_first(config, {"train.global_batch", "data.limit", "data.file"}),
           fmt::format("{} {} samples; accepted: train.global_batch of at most that with train.drop_last = true",
                       of_what, samples));
}

// Parts that do not go together, whatever the data and the machine.
void check_combinations(const Config& config) {
  if (config.model.sync_batchnorm && config.dist.reduction == Reduction::elastic) {
    fail_key(config, written_first(config, {"model.sync_batchnorm", "dist.reduction"}),
             "dist.reduction = \"elastic\" normalises each shard; accepted: model.sync_batchnorm = false, or "
             "dist.reduction = \"fast\"");
  }
  if (config.dist.backend == Backend::nccl && config.train.device == Device::cpu) {
    fail_key(config, written_first(config, {"dist.backend", "train.device"}),
             "NCCL is for tensors on GPUs; accepted under train.device = \"cpu\": dist.backend = \"auto\", \"self\" or "
             "\"mpi\"");
  }
  if (config.train.capture == Capture::on) {
    if (const auto why = why_keys_on_host(config)) {
      fail_key(config, "train.capture", fmt::format("{}; accepted: \"auto\" or \"off\"", *why));
    }
  }
}

// Options of the deny loss without a loss, or without the pass, that they change.
void check_deny(const Config& config) {
  const auto& deny = config.deny;
  if (same_name(deny.mode, "none")) {
    if (deny.feature_weight > 0)
      fail_key(config, written_first(config, {"deny.feature_weight", "deny.mode"}),
               "nothing is denied; accepted under deny.mode = \"none\": deny.feature_weight = 0");
    if (deny.adversarial_steps > 0)
      fail_key(config, written_first(config, {"deny.adversarial_steps", "deny.mode"}),
               "nothing is denied; accepted under deny.mode = \"none\": deny.adversarial_steps = 0");
  }
  const bool wrong = std::find(deny.on.begin(), deny.on.end(), Pass::wrong) != deny.on.end();
  if (deny.adversarial_steps > 0 && !wrong)
    fail_key(config, written_first(config, {"deny.adversarial_steps", "deny.on"}),
             "deny.on has no pass with a wrong key; accepted: deny.adversarial_steps = 0, or \"wrong\" in deny.on");
}

void check_early_stop(const Config& config) {
  const auto& rule = config.train.early_stop;
  if (!rule.metric.empty()) {
    if (config.eval.every_epochs == 0)
      fail_key(config, written_first(config, {"eval.every_epochs", "train.early_stop.metric"}),
               "no epoch but the last is evaluated; accepted with train.early_stop.metric: eval.every_epochs >= 1");
    return;
  }
  const EarlyStopConfig none;
  const std::pair<std::string_view, bool> set[] = {{"train.early_stop.goal", rule.goal != none.goal},
                                                   {"train.early_stop.patience", rule.patience != none.patience},
                                                   {"train.early_stop.min_improvement", rule.min_improvement != 0},
                                                   {"train.early_stop.min_epochs", rule.min_epochs != 0}};
  for (const auto& [key, differs] : set)
    if (differs) fail_key(config, key, "nothing stops the run; accepted: together with train.early_stop.metric");
}

void check_data_name(const Config& config) {
  if (!config.data.file.starts_with("builtin:")) return;
  const auto is_it = [&](std::string_view name) { return name == config.data.file; };
  if (std::any_of(registry_names::builtin_data.begin(), registry_names::builtin_data.end(), is_it)) return;
  fail_key(config, "data.file",
           fmt::format(
               "no such built-in data set; accepted: {}, or the path of a file{}",
               fmt::join(registry_names::builtin_data, ", "),
               did_you_mean(nearest(config.data.file, std::vector<std::string>(registry_names::builtin_data.begin(),
                                                                               registry_names::builtin_data.end())))));
}

void check_network_takes(const Config& config, const std::vector<std::int64_t>& shape) {
  const auto& network = network_of(config);
  if (takes(network, shape)) return;
  std::vector<std::string_view> fitting;
  for (const NetworkFacts& other : network_facts) {
    if (takes(other, shape)) fitting.push_back(other.name);
  }
  fail_key(config, written_first(config, {"model.name", "data.file"}),
           fmt::format("{} takes samples of shape ({}), those of {} have ({}); accepted for these data: {}",
                       network.name, shape_text(network), config.data.file, fmt::join(shape, ", "),
                       fitting.empty() ? "no network of ours" : fmt::format("{}", fmt::join(fitting, ", "))));
}

void check_augment(const Config& config, const std::vector<std::int64_t>& shape) {
  if (config.data.augment == Augment::none) return;
  const auto place = written_first(config, {"data.augment", "data.file"});
  if (shape.size() != 3) {
    fail_key(config, place, "the data set holds features, not images; accepted: data.augment = \"none\"");
  }
  // The fixed point of its coordinates holds values below 2^15, margins included.
  if (config.data.augment == Augment::affine && std::max(shape[1], shape[2]) >= 8192) {
    fail_key(config, place,
             "accepted for images of 8192 pixels a side or more: data.augment = \"none\" or \"crop_flip\"");
  }
}

}  // namespace

void check_rules(const Config& config) {
  check_deny(config);
  check_shards(config);
  check_schedule(config);
  check_early_stop(config);
  check_data_name(config);
  check_layers(config, /*sample=*/0);
  check_cone(config);
  check_permute(config);
  check_norm_clamp(config);
  check_combinations(config);
  if (config.data.limit > 0) check_batch(config, config.data.limit, "data.limit leaves");
}

void check_data(const Config& config, const DataFacts& data) {
  if (data.classes < 2) {
    fail_key(config, "data.file", fmt::format("{} class; accepted: data of 2 classes or more", data.classes));
  }
  check_network_takes(config, data.sample_shape);
  std::int64_t sample = 1;
  for (const auto extent : data.sample_shape) sample *= extent;
  check_layers(config, sample);
  check_augment(config, data.sample_shape);
  check_batch(config, data.train_samples, "the training split has");
}

Config canonical(Config config) {
  if (config.train.twin == Twin::vanilla) {
    config.deny.mode = "none";
    config.deny.adversarial_steps = 0;
    config.deny.feature_weight = 0;
  }
  return config;
}

std::optional<std::string> why_keys_on_host(const Config& config) {
  if (config.train.twin == Twin::noise) return "train.twin = \"noise\" draws a key for each sample on the host";
  if (config.train.twin == Twin::fixed_key) return "train.twin = \"fixed_key\" takes its key from the evaluation's";
  if (!config.key.permute.empty()) return "key.permute reads the signs of a wrong key on the host";
  if (config.key.alpha == AlphaLaw::codebook) return "key.alpha = \"codebook\" is looked up on the host";
  if (config.train.twin != Twin::vanilla && config.deny.families != std::vector<std::string>{"gaussian"})
    return "deny.families other than \"gaussian\" are drawn on the host";
  if (config.train.twin != Twin::vanilla && config.deny.adversarial_steps > 0)
    return "deny.adversarial_steps moves the wrong key on the host";
  return std::nullopt;
}

}  // namespace spankey
