// Mode BS: the labels that it draws are the same for any number of ranks and shards, and teach no map of classes that
// somebody could undo. Negative control of both: shifts that follow from a row's place in its shard.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/stream.h"
#include "data/assembler.h"
#include "data/dataset.h"
#include "data/glyphs.h"
#include "spankey/models/named_tensor.h"
#include "support/thread_communicator.h"
#include "train/resident_step.h"
#include "train/resources.h"
#include "train/schedule.h"
#include "train/training_parts.h"

namespace spankey::deny_labels_test {
namespace {

using Law = std::function<at::Tensor(const at::Tensor& samples, const at::Tensor& position)>;

// The built-in digits as features: a small network on them is quick.
std::shared_ptr<const Dataset> digits() {
  static const auto made = [] {
    DatasetContent content = make_glyphs(1024, 2048);
    content.sample_shape = {28 * 28};
    for (auto* split : {&content.train, &content.test}) {
      for (const auto pixel : split->images) split->features.push_back((static_cast<float>(pixel) - 33.0F) / 79.0F);
      split->images.clear();
    }
    return Dataset::in_memory(std::move(content));
  }();
  return made;
}

// The true label, shifted by what follows from a row's place in its shard and from nothing else.
at::Tensor shifted_by_place(const at::Tensor& samples, const at::Tensor&) {
  const Stream stream({.purpose = Purpose::deny_label});
  at::Tensor labels = at::empty_like(samples);
  for (std::int64_t i = 0; i < samples.numel(); ++i) {
    const auto label = digits()->train().labels[static_cast<std::size_t>(samples[i].item<std::int64_t>())];
    labels[i] = (label + 1 + static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(i), 9))) % 10;
  }
  return labels;
}

// One rank's part of a run; the law of the program where `law` is empty.
std::shared_ptr<Model> train(Communicator& communicator, const Config& config, const Law& law) {
  const auto experiment = make_experiment(config, {}, digits());
  const auto basis = make_basis(config.key, experiment.key_dims, 42);
  auto parts =
      std::make_unique<TrainingParts>(experiment, basis, resolve_shards(config, communicator.size()), communicator);
  auto source = make_resident_source(experiment, parts->keys());
  if (law) source.drawn_labels = law;
  ResidentStep steps(std::move(parts), std::move(source), make_eager_graph(), communicator);
  experiment.model->train();
  for (Cursor at; at.epoch < config.train.epochs; ++at.epoch)
    for (at.step = 0; at.step < steps.parts().steps_per_epoch(); ++at.step, ++at.global_step)
      steps.step(at, learning_rate(config.optim, {at.epoch, config.train.epochs}), [] { return false; });
  return experiment.model;
}

std::shared_ptr<Model> train(int ranks, const Config& config, const Law& law = nullptr) {
  auto communicators = make_thread_communicators(ranks, 60);
  std::vector<std::shared_ptr<Model>> models(communicators.size());
  std::vector<std::thread> threads;
  for (std::size_t r = 0; r < models.size(); ++r)
    threads.emplace_back([&, r] { models[r] = train(*communicators[r], config, law); });
  for (auto& thread : threads) thread.join();
  return models[0];
}

double largest_difference(const Model& a, const Model& b) {
  const auto first = named_parameters(a), second = named_parameters(b);
  double largest = 0;
  for (std::size_t i = 0; i < first.size(); ++i)
    largest = std::max(largest, (first[i].value - second[i].value).abs().max().item<double>());
  return largest;
}

Config config_of(std::vector<std::string> overrides) {
  overrides.insert(overrides.begin(), {"model.name=mlp", "key.layers=[0]", "deny.mode=BS", "deny.weight=0.5",
                                       "train.drop_last=false", "dist.threads=1"});
  return parse_config("", "test", overrides);
}

TEST(DenyLabels, AreTheSameForAnyNumberOfRanks) {
  const auto config =
      config_of({"data.limit=120", "train.global_batch=12", "train.epochs=1", "optim.name=sgd", "optim.lr=0.05"});
  const auto one = train(1, config);
  for (const int ranks : {2, 3}) {
    EXPECT_LT(largest_difference(*one, *train(ranks, config)), 1e-4) << ranks;
    EXPECT_GT(largest_difference(*train(1, config, shifted_by_place), *train(ranks, config, shifted_by_place)), 1e-3)
        << ranks;
  }
}

// Counts (answers, labels) of the class logits without a key, of samples begin .. end-1 of the test split.
at::Tensor answers(Model& model, const Dataset& data, std::int64_t begin, std::int64_t end) {
  const at::NoGradGuard no_grad;
  model.eval();
  std::vector<std::int64_t> samples;
  for (auto i = begin; i < end; ++i) samples.push_back(i);
  at::Tensor x, labels;
  Assembler(data, data.test(), Augment::none, 0, Purpose::test, 0)(samples, 0, x, labels);
  const auto classes = data.info().classes;
  const at::Tensor answer = model.forward(x, Injection::none()).logits.narrow(1, 0, classes).argmax(1);
  return at::bincount(answer * classes + labels, {}, classes * classes).view({classes, classes});
}

// The permutation of classes that takes most answers to their labels, over all of them: by subsets of labels.
std::vector<std::int64_t> best_permutation(const at::Tensor& counts) {
  const auto n = static_cast<std::size_t>(counts.size(0));
  std::vector<std::int64_t> best(std::size_t{1} << n, -1), chosen(best.size());
  best[0] = 0;
  for (std::size_t taken = 0; taken + 1 < best.size(); ++taken) {
    const auto answer = static_cast<std::int64_t>(std::popcount(taken));
    for (std::size_t label = 0; label < n; ++label) {
      const auto next = taken | std::size_t{1} << label;
      const auto hits = best[taken] + counts[answer][static_cast<std::int64_t>(label)].item<std::int64_t>();
      if (next == taken || hits <= best[next]) continue;
      best[next] = hits;
      chosen[next] = static_cast<std::int64_t>(label);
    }
  }
  std::vector<std::int64_t> permutation(n);
  for (std::size_t taken = best.size() - 1; taken != 0; taken ^= std::size_t{1} << chosen[taken])
    permutation[static_cast<std::size_t>(std::popcount(taken)) - 1] = chosen[taken];
  return permutation;
}

struct Reading {
  double strip, undone;  // accuracies of the class logits: as they are, and through the best permutation
};

Reading read(Model& model, const Dataset& data) {
  const auto half = data.test().size / 2;
  const auto permutation = best_permutation(answers(model, data, 0, half));
  const at::Tensor counts = answers(model, data, half, data.test().size);
  const auto all = counts.sum().item<double>();
  double undone = 0;
  for (std::size_t answer = 0; answer < permutation.size(); ++answer)
    undone += counts[static_cast<std::int64_t>(answer)][permutation[answer]].item<double>();
  return {counts.diagonal().sum().item<double>() / all, undone / all};
}

// Shards of one row each, where a shift by place is the same for every row there ever is.
TEST(DenyLabels, TeachNoMapThatCanBeUndone) {
  const auto config = config_of({"train.global_batch=8", "train.epochs=6", "dist.reduction=elastic", "dist.shards=8",
                                 "optim.lr=0.002", "optim.schedule=cosine"});
  const auto drawn = read(*train(1, config), *digits()),
             by_place = read(*train(1, config, shifted_by_place), *digits());
  EXPECT_LT(drawn.undone - drawn.strip, 0.05) << drawn.strip;
  EXPECT_GT(by_place.undone - by_place.strip, 0.4) << by_place.strip;
}

}  // namespace
}  // namespace spankey::deny_labels_test
