#include "attack/context.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <span>
#include <utility>

#include "attack/budgets.h"
#include "attack/selection.h"
#include "base/error.h"
#include "data/assembler.h"
#include "spankey/models/registry.h"

namespace spankey {
namespace {

// Leaked keys have numbers that no evaluation reaches.
constexpr std::int64_t first_leaked_key = std::int64_t{1} << 40, leaked_keys_a_seed = std::int64_t{1} << 20;
constexpr std::int64_t first_service_key = std::int64_t{1} << 41;

// Streams of one unit, told apart by `step`. Searches count epochs from 0.
enum StreamStep : std::int64_t {
  first_normal_key = std::int64_t{1} << 20,
  first_order = std::int64_t{1} << 28,
  first_uniform = std::int64_t{1} << 29,
  network_seed = std::int64_t{1} << 30,
  owners_secret = (std::int64_t{1} << 30) + 1
};

constexpr std::int64_t noted_keys = 2;

// |kP|^2 / |k|^2 with P the projection on the span of `basis` (m, d). One where the span is everything.
double energy_in_span(const at::Tensor& key, const at::Tensor& basis) {
  if (basis.size(0) >= basis.size(1)) return 1.0;
  const at::Tensor inside = orthonormal_rows(basis).matmul(key);
  return (inside.square().sum() / key.square().sum()).item<double>();
}

nlohmann::json view_of(const std::vector<at::Tensor>& keys, const Basis& basis) {
  nlohmann::json view{{"energy_in_span", nlohmann::json::array()}, {"cosine_to_mean_key", nlohmann::json::array()}};
  for (std::size_t layer = 0; layer < keys.size(); ++layer) {
    const at::Tensor key = keys[layer][0].to(at::kDouble), rows = basis.layers[layer].to(at::kDouble);
    const at::Tensor mean = rows.sum(0);
    view["energy_in_span"].push_back(energy_in_span(key, rows));
    view["cosine_to_mean_key"].push_back((key.dot(mean) / (key.norm() * mean.norm())).item<double>());
  }
  return view;
}

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
  return {key.layers, run_.experiment.key_dims, injection_kind(run_.experiment.config), key.target_std, key.m};
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
  return drawn_anew(RejectKind::none);
}

std::shared_ptr<Model> AttackContext::network_drawn_anew() {
  require(Know::weights);
  return drawn_anew(reject());
}

std::shared_ptr<Model> AttackContext::drawn_anew(RejectKind reject) const {
  const auto& info = run_.experiment.dataset->info();
  auto model = make_model(run_.experiment.config.model.name, {.sample_shape = info.sample_shape,
                                                              .classes = info.classes,
                                                              .reject_class = reject == RejectKind::reject_class,
                                                              .reject_head = reject == RejectKind::reject_head});
  const auto draws = stream(network_seed);
  initialise(*model, std::uint64_t{draws.word(0)} << 32 | draws.word(1));
  model->move_to(run_.experiment.placement.device);
  return model;
}

std::vector<double> AttackContext::uniforms(std::int64_t draw, std::int64_t count) const {
  std::vector<double> values(static_cast<std::size_t>(count));
  stream(first_uniform + draw).fill_uniform(std::span<double>(values));
  return values;
}

std::vector<std::int64_t> AttackContext::order(std::int64_t draw, std::int64_t count) const {
  return permutation(stream_id(first_order + draw), count);
}

void AttackContext::count_forward(std::int64_t images) {
  cost_.forward += images;
  if (leave_if_asked_) leave_if_asked_();
}

Images AttackContext::images(std::int64_t count, Augment augment, std::int64_t copies) const {
  const auto seed = static_cast<std::uint64_t>(run_.experiment.config.run.seed);
  const auto offered = run_.data.offered_labels();
  auto chosen = balanced_selection(offered, classes(), count, seed, attack_seed_);
  for (auto& sample : chosen) sample = run_.data.offered_sample(sample);
  Assembler assemble(*run_.experiment.dataset, run_.data.offered_split(), augment, seed, Purpose::eval_augment,
                     run_.experiment.config.data.rotation);
  std::vector<at::Tensor> x(static_cast<std::size_t>(copies)), labels(x.size());
  for (std::size_t copy = 0; copy < x.size(); ++copy) assemble(chosen, /*epoch=*/copy, x[copy], labels[copy]);
  return copies == 1 ? Images{x[0], labels[0]} : Images{at::cat(x), at::cat(labels)};
}

Images AttackContext::labelled(std::int64_t count) {
  require(Know::labels);
  cost_.labels = std::max(cost_.labels, count);
  return images(count);
}

Images AttackContext::labelled(const Budget& budget) {
  return budget.variant == budgets::augmented_variant ? augmented(budget.images, budgets::augmented_copies)
                                                      : labelled(budget.images);
}

Images AttackContext::unlabelled(std::int64_t count) {
  require(Know::unlabelled);
  cost_.unlabelled = std::max(cost_.unlabelled, count);
  return {images(count).x, {}};
}

Images AttackContext::augmented(std::int64_t count, std::int64_t copies) {
  require(Know::labels);
  cost_.labels = std::max(cost_.labels, count);
  return images(count, run_.experiment.config.data.augment, copies);
}

Output AttackContext::answer(const at::Tensor& x, const Injection& key) {
  if (leave_if_asked_) leave_if_asked_();
  const at::NoGradGuard no_grad;
  cost_.queries += x.size(0);
  const auto output = run_.experiment.model->forward(x, key);
  return {output.logits, {}, output.reject};
}

at::Tensor AttackContext::named(const Output& output) const {
  at::Tensor answers = output.logits.argmax(1);
  if (reject() == RejectKind::reject_class) answers = answers.masked_fill(answers.eq(classes()), -1);
  if (reject() == RejectKind::reject_head) answers = answers.masked_fill(output.reject.sigmoid().gt(0.5), -1);
  return answers;
}

at::Tensor AttackContext::query(const at::Tensor& x, const Injection& key) {
  return named(query_scores(x, key));
}

Output AttackContext::query_scores(const at::Tensor& x, const Injection& key) {
  require(Know::queries);
  return answer(x, key);
}

const Injection& AttackContext::service_key() {
  require(Know::service);
  if (!service_key_) service_key_ = key_maker().evaluation_correct(first_service_key + attack_seed_, evaluation_batch);
  return *service_key_;
}

at::Tensor AttackContext::service(const at::Tensor& x) {
  return named(service_scores(x));
}

Output AttackContext::service_scores(const at::Tensor& x) {
  return answer(x, service_key());
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

std::vector<std::vector<at::Tensor>> AttackContext::issued(std::int64_t count) {
  const auto& experiment = run_.experiment;
  require(Know::leaked_keys);
  SPANKEY_CHECK(run_.basis.has_value());
  if (!IssuedKeys::possible(experiment.config.key, experiment.key_dims, *run_.basis)) return leaked(count);
  cost_.leaked = std::max(cost_.leaked, count);
  issued_keys_.emplace(experiment.config, experiment.key_dims, *run_.basis, stream(owners_secret), count);
  return issued_keys_->keys();
}

const Basis& AttackContext::basis() {
  require(Know::basis);
  SPANKEY_CHECK(run_.basis.has_value());
  return *run_.basis;
}

KeyRules AttackContext::key_rules() {
  return {run_.experiment.config.key, run_.experiment.config.run.compat, basis()};
}

Images AttackContext::test_images(std::int64_t count) {
  require(Know::basis);
  const auto& test = run_.experiment.dataset->test();
  SplitReader reader(run_.experiment, test, {}, at::kCPU);
  const auto& batch = reader.rows(0, std::min(count, test.size));
  return {batch.x, batch.labels};
}

const KeyMaker& AttackContext::owners_keys() {
  require(Know::owner);
  return key_maker();
}

double AttackContext::search(const std::vector<at::Tensor>& leaves, const Images& images, const BatchLoss& loss,
                             double lr, std::int64_t steps, const std::function<void()>& after_each_step) {
  return search(leaves, images, loss, std::vector<double>(leaves.size(), lr), steps, after_each_step);
}

double AttackContext::search(const std::vector<at::Tensor>& leaves, const Images& images, const BatchLoss& loss,
                             const std::vector<double>& rates, std::int64_t steps,
                             const std::function<void()>& after_each_step) {
  for (const auto& leaf : leaves) cost_.trained += leaf.numel();
  std::int64_t done = 0;
  const auto counted = [&](const Images& batch) {
    cost_.forward += batch.size();
    if (done++ < steps) cost_.backward += batch.size();
    return loss(batch);
  };
  const auto after = [&] {
    if (after_each_step) after_each_step();
    if (leave_if_asked_) leave_if_asked_();
  };
  return fit(leaves, images, counted,
             {.steps = steps, .order = stream_id(0), .after_each_step = after, .rates = rates});
}

// On the CPU, as all that an attack computes beside the network.
SplitReader AttackContext::judged() const {
  return {run_.experiment, run_.experiment.dataset->test(), run_.data.judged(), at::kCPU};
}

AccessCounts AttackContext::judge(const Answers& answers, RejectKind reject) {
  auto test = judged();
  return measure(answers, test, reject, leave_if_asked_);
}

AccessCounts AttackContext::judge(const Injection& key) {
  return judge([&](const at::Tensor& x) { return run_.experiment.model->forward(x, key); }, reject());
}

void AttackContext::note_keys(const std::vector<at::Tensor>& keys) {
  if (run_.basis) owners_view_ = view_of(keys, *run_.basis);
}

AccessCounts AttackContext::judge_key(const std::vector<at::Tensor>& keys) {
  note_keys(keys);
  if (issued_keys_)
    if (auto trace = issued_keys_->trace(keys); !trace.is_null()) owners_view_["trace"] = std::move(trace);
  return judge(keyed(keys));
}

void AttackContext::note_correct_key() {
  if (!run_.basis) return;
  AccessCounts all;
  for (std::int64_t i = 0; i < noted_keys; ++i) all += judge(key_maker().evaluation_correct(i, evaluation_batch));
  owners_view_["correct_key"] = static_cast<double>(all.correct) / static_cast<double>(all.samples);
}

double AttackContext::agreement(const Named& one, const Named& other) {
  auto test = judged();
  const at::NoGradGuard no_grad;
  std::int64_t same = 0;
  for (std::int64_t begin = 0; begin < test.size(); begin += evaluation_batch) {
    const auto& x = test.rows(begin, std::min(test.size(), begin + evaluation_batch)).x;
    same += one(x).eq(other(x)).sum().item<std::int64_t>();
    if (leave_if_asked_) leave_if_asked_();
  }
  return static_cast<double>(same) / static_cast<double>(test.size());
}

double AttackContext::fidelity(const Named& student) {
  const auto& key = service_key();
  return agreement(student, [&](const at::Tensor& x) { return named(run_.experiment.model->forward(x, key)); });
}

}  // namespace spankey
