#include "attack/context.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "attack/selection.h"
#include "base/error.h"
#include "data/assembler.h"
#include "spankey/models/registry.h"

namespace spankey {
namespace {

// Leaked keys have numbers that no evaluation reaches.
constexpr std::int64_t first_leaked_key = std::int64_t{1} << 40, leaked_keys_a_seed = std::int64_t{1} << 20;

// Streams of one unit, told apart by `step`. Searches count epochs from 0.
enum StreamStep : std::int64_t { first_normal_key = std::int64_t{1} << 20, network_seed = std::int64_t{1} << 30 };

}  // namespace

AttackContext::AttackContext(const AttackedRun& run, const Attack& attack, std::int64_t attack_seed,
                             std::function<void()> leave_if_asked)
    : run_(run), attack_(attack), attack_seed_(attack_seed), leave_if_asked_(std::move(leave_if_asked)) {}

void AttackContext::require(Know what) const {
  if (!has(attack_.knows, Know::owner) && !has(attack_.knows, what))
    fail_run("attack {} asked for what it does not know: {}", attack_.id, knowledge_text(static_cast<unsigned>(what)));
}

std::int64_t AttackContext::classes() const {
  return run_.experiment.dataset->info().classes;
}

RejectKind AttackContext::reject() const {
  return run_.experiment.deny->reject;
}

StreamId AttackContext::stream_id(std::int64_t step) const {
  return {.seed = static_cast<std::uint64_t>(run_.experiment.config.run.seed),
          .purpose = Purpose::attack,
          .epoch = static_cast<std::uint32_t>(attack_seed_),
          .step = static_cast<std::uint32_t>(step),
          .layer = attack_.number};
}

Model& AttackContext::network() {
  require(Know::weights);
  return *run_.experiment.model;
}

KeyEntry AttackContext::key_entry() {
  require(Know::architecture);
  const auto& key = run_.experiment.config.key;
  return {key.layers, run_.experiment.key_dims, injection_kind(run_.experiment.config), key.target_std};
}

Injection AttackContext::keyed(const std::vector<at::Tensor>& keys) {
  const auto entry = key_entry();
  return Injection::of_keys(entry.layers, keys, entry.kind);
}

std::vector<at::Tensor> AttackContext::normal_keys(std::int64_t draw) {
  const auto entry = key_entry();
  std::vector<at::Tensor> keys;
  for (std::size_t layer = 0; layer < entry.widths.size(); ++layer) {
    at::Tensor key = at::empty({1, entry.widths[layer]}, at::kFloat);
    auto id = stream_id(first_normal_key + draw);
    id.sample = layer;
    Stream(id).fill_normal({key.mutable_data_ptr<float>(), static_cast<std::size_t>(key.numel())});
    keys.push_back(key * entry.std);
  }
  return keys;
}

std::shared_ptr<Model> AttackContext::fresh_network() {
  require(Know::architecture);
  const auto& info = run_.experiment.dataset->info();
  auto model =
      make_model(run_.experiment.config.model.name, {.sample_shape = info.sample_shape, .classes = info.classes});
  const auto draws = stream(network_seed);
  initialise(*model, std::uint64_t{draws.word(0)} << 32 | draws.word(1));
  return model;
}

Images AttackContext::images(std::int64_t count) const {
  const auto& dataset = *run_.experiment.dataset;
  const auto& split = dataset.train();
  const auto seed = static_cast<std::uint64_t>(run_.experiment.config.run.seed);
  const auto chosen = balanced_selection(split.labels, classes(), count, seed, attack_seed_);
  Images found;
  Assembler(dataset, split, Augment::none, seed, Purpose::eval_augment)(chosen, /*epoch=*/0, found.x, found.labels);
  return found;
}

Images AttackContext::labelled(std::int64_t count) {
  require(Know::labels);
  cost_.labels = std::max(cost_.labels, count);
  return images(count);
}

Images AttackContext::unlabelled(std::int64_t count) {
  require(Know::unlabelled);
  cost_.unlabelled = std::max(cost_.unlabelled, count);
  return {images(count).x, {}};
}

at::Tensor AttackContext::query(const at::Tensor& x, const Injection& key) {
  require(Know::queries);
  if (leave_if_asked_) leave_if_asked_();
  const at::NoGradGuard no_grad;
  cost_.queries += x.size(0);
  const auto output = run_.experiment.model->forward(x, key);
  at::Tensor answers = output.logits.argmax(1);
  if (reject() == RejectKind::reject_class) answers = answers.masked_fill(answers.eq(classes()), -1);
  if (reject() == RejectKind::reject_head) answers = answers.masked_fill(output.reject.sigmoid().gt(0.5), -1);
  return answers;
}

KeyMaker& AttackContext::key_maker() {
  SPANKEY_CHECK(run_.basis.has_value());
  if (!keys_) keys_ = std::make_unique<KeyMaker>(run_.experiment.config, *run_.basis);
  return *keys_;
}

std::vector<std::vector<at::Tensor>> AttackContext::leaked(std::int64_t count) {
  require(Know::leaked_keys);
  SPANKEY_CHECK_LE(count, leaked_keys_a_seed);
  cost_.leaked = std::max(cost_.leaked, count);
  const auto& config = run_.experiment.config;
  std::vector<std::vector<at::Tensor>> keys(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    const auto number = first_leaked_key + attack_seed_ * leaked_keys_a_seed + i;
    const auto key = key_maker().evaluation_correct(number, config.train.global_batch);
    for (const auto layer : config.key.layers) keys[static_cast<std::size_t>(i)].push_back(key.keys_at(layer));
  }
  return keys;
}

const Basis& AttackContext::basis() {
  require(Know::basis);
  SPANKEY_CHECK(run_.basis.has_value());
  return *run_.basis;
}

const KeyMaker& AttackContext::owners_keys() {
  require(Know::owner);
  return key_maker();
}

double AttackContext::search(const std::vector<at::Tensor>& leaves, const Images& images, const BatchLoss& loss,
                             double lr, std::int64_t steps) {
  for (const auto& leaf : leaves) cost_.trained += leaf.numel();
  std::int64_t done = 0;
  const auto counted = [&](const Images& batch) {
    cost_.forward += batch.size();
    if (done++ < steps) cost_.backward += batch.size();
    return loss(batch);
  };
  return fit(leaves, images, counted,
             {.lr = lr, .steps = steps, .order = stream_id(0), .after_each_step = leave_if_asked_});
}

AccessCounts AttackContext::judge(const Answers& answers, RejectKind reject) {
  SplitReader test(run_.experiment, run_.experiment.dataset->test());
  return measure(answers, test, reject, leave_if_asked_);
}

AccessCounts AttackContext::judge(const Injection& key) {
  return judge([&](const at::Tensor& x) { return run_.experiment.model->forward(x, key); }, reject());
}

}  // namespace spankey
