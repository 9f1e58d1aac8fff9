// Networks to attack, made in seconds: untrained ones, and one that a short training has taught to reject whoever has
// no key.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <string>

#include "attack/attacked_run.h"
#include "attack/context.h"
#include "attack/fit.h"
#include "attack/losses.h"
#include "attack/suite.h"
#include "support/mode_b.h"

namespace spankey::test {

inline constexpr const char* small_mlp =
    "[data]\nfile='builtin:argmax'\n[model]\nname='mlp'\n[deny]\nmode='B'\n[key]\nlayers=[0,1]\nm=4\n";

// The first of the built-in digits: attacks measure on the whole test split, which has to be short here.
inline std::shared_ptr<const Dataset> few_glyphs() {
  const auto all = Dataset::open("builtin:glyphs", Verify::never);
  const auto first = [&](const Split& split, std::int64_t count) {
    SplitContent content;
    const auto pixels = split.images.first(static_cast<std::size_t>(count * all->info().sample_size()));
    content.images.assign(pixels.begin(), pixels.end());
    content.labels.assign(split.labels.begin(), split.labels.begin() + count);
    return content;
  };
  return Dataset::in_memory({.sample_shape = all->info().sample_shape,
                             .class_names = all->info().class_names,
                             .source = "test",
                             .train = first(all->train(), 1024),
                             .test = first(all->test(), 256)});
}

// The same images, with the training labels in another order.
inline std::shared_ptr<const Dataset> with_permuted_labels(const Dataset& dataset) {
  const auto copy = [](const Split& split) {
    SplitContent content;
    content.images.assign(split.images.begin(), split.images.end());
    content.labels = split.labels;
    return content;
  };
  auto train = copy(dataset.train());
  const auto order = permutation({.seed = 9, .purpose = Purpose::test}, std::ssize(train.labels));
  for (std::size_t i = 0; i < order.size(); ++i)
    train.labels[i] = dataset.train().labels[static_cast<std::size_t>(order[i])];
  return Dataset::in_memory({.sample_shape = dataset.info().sample_shape,
                             .class_names = dataset.info().class_names,
                             .source = "test",
                             .train = std::move(train),
                             .test = copy(dataset.test())});
}

inline Experiment untrained(const std::string& text) {
  static const auto glyphs = few_glyphs();
  at::set_num_threads(1);
  const auto config = parse_config(text, "test");
  return make_experiment(config, {}, config.data.file == "builtin:glyphs" ? glyphs : nullptr);
}

inline Basis basis_of(const Experiment& experiment) {
  return make_basis(experiment.config.key, experiment.key_dims, 42);
}

inline AttackedRun untrained_run(const std::string& config) {
  auto experiment = untrained(config);
  auto basis = basis_of(experiment);
  return make_attacked_run(std::move(experiment), std::move(basis));
}

// Two hundred images, labels with the first valid key and a rejection without one: the plainest lock there is.
inline AttackedRun locked_run(const std::string& config, std::int64_t steps = 60) {
  auto experiment = untrained(config);
  auto basis = basis_of(experiment);
  const KeyMaker keys(experiment.config, basis);
  const auto valid = keys.evaluation_correct(0, evaluation_batch);
  Images images;
  std::vector<std::int64_t> first(200);
  for (std::size_t i = 0; i < first.size(); ++i) first[i] = static_cast<std::int64_t>(i);
  const auto& dataset = *experiment.dataset;
  Assembler(dataset, dataset.train(), Augment::none, 0, Purpose::eval_augment)(first, 0, images.x, images.labels);
  auto& model = *experiment.model;
  model.eval();
  const auto reject = at::full_like(images.labels, dataset.info().classes);
  fit(model.parameters(), images,
      [&](const Images& batch) {
        return shipped_loss(model.forward(batch.x, valid), batch.labels, RejectKind::reject_class) +
               shipped_loss(model.forward(batch.x, Injection::none()), reject, RejectKind::reject_class);
      },
      {.lr = 3e-3, .steps = steps, .order = {}, .after_each_step = {}});
  return make_attacked_run(std::move(experiment), std::move(basis));
}

// The outcome of one unit, without the one figure that time decides.
inline nlohmann::json outcome_of(const AttackedRun& run, const std::string& id, const Budget& budget,
                                 std::int64_t seed = 0) {
  auto outcome = run_unit(run, {&find_attack(id), budget, seed, 0.0}, {});
  outcome["cost"].erase("seconds");
  return outcome;
}

// The share of the test images that an outcome counts as "correct", "strip" or "rejected".
inline double share(const nlohmann::json& outcome, const char* count) {
  const auto& access = outcome.at("access");
  return access.at(count).get<double>() / access.at("samples").get<double>();
}

}  // namespace spankey::test
