// train.h5: whole training trajectories, and the reference's search for a key by gradient.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "attack/key_attacks/alpha_search.h"
#include "golden/network.h"
#include "spankey/deny/access.h"
#include "spankey/deny/deny.h"
#include "spankey/keys/key_maker.h"
#include "spankey/models/registry.h"
#include "train/schedule.h"

namespace spankey::train_test {
namespace {

// torch.optim's Adam, AdamW and SGD with Nesterov's momentum, by ATen's own fused kernels.
class Optimiser {
 public:
  Optimiser(std::string name, double lr, double weight_decay, std::vector<at::Tensor> parameters)
      : name_(std::move(name)), lr_(lr), decay_(weight_decay), parameters_(std::move(parameters)) {
    EXPECT_TRUE(name_ == "adam" || name_ == "adamw" || name_ == "sgd") << name_;
    for (const at::Tensor& p : parameters_) {
      first_.push_back(at::zeros_like(p));
      second_.push_back(at::zeros_like(p));
      steps_.push_back(at::zeros({}, at::kFloat));
    }
  }
  void step() {
    const at::NoGradGuard no_grad;
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& p : parameters_) gradients.push_back(p.grad());
    for (at::Tensor& s : steps_) s.add_(1);
    if (name_ == "adam") {
      at::_fused_adam_(parameters_, gradients, first_, second_, {}, steps_, lr_, 0.9, 0.999, 0.0, 1e-8, false, false);
    } else if (name_ == "adamw") {
      at::_fused_adamw_(parameters_, gradients, first_, second_, {}, steps_, lr_, 0.9, 0.999, decay_, 1e-8, false,
                        false);
    } else {
      at::_fused_sgd_(parameters_, gradients, first_, decay_, 0.9, lr_, 0.0, true, false, steps_[0].item<float>() == 1);
    }
    for (at::Tensor& p : parameters_) p.mutable_grad().zero_();
  }

 private:
  std::string name_;
  double lr_, decay_;
  std::vector<at::Tensor> parameters_, first_, second_, steps_;
};

// One stored trajectory.
struct Trajectory {
  const h5::File& file;
  std::string group;
  std::string name;  // of the reference's network
  std::int64_t steps, batch, m;
  std::vector<std::int64_t> dims;
  std::uint64_t data_seed;
  KeyConfig key;
  DenyConfig deny;
  bool keyed = true;

  Trajectory(const h5::File& f, std::string path);
  Basis basis() const;
  at::Tensor input(std::int64_t step, const std::vector<std::int64_t>& sample_shape) const;
  std::vector<at::Tensor> gauss(std::int64_t step, const KeyRules& rules) const;
  bool closed() const { return file.string_attribute(group, "basis") == "closed"; }
  std::string path(const std::string& dataset) const { return group + "/" + dataset; }
};

Trajectory::Trajectory(const h5::File& f, std::string p)
    : file(f),
      group(std::move(p)),
      name(file.string_attribute(group, "name")),
      steps(file.int_attribute(group, "steps")),
      batch(file.int_attribute(group, "batch")),
      m(static_cast<std::int64_t>(golden::number(file, group, "m", 1))),
      dims(file.ints_attribute(group, "layer_dims")),
      data_seed(static_cast<std::uint64_t>(file.int_attribute(group, "data_seed"))) {
  key.m = m;
  key.gamma = golden::number(file, group, "gamma", 0.0);
  key.inject = golden::text(file, group, "inject", "mul") == "add" ? Inject::add : Inject::mul;
  key.layers = file.ints_attribute(group, "layers");
  key.target_std = golden::number(file, group, "std", 0.0);
  key.rescale = Rescale::batch;
  key.per_layer_key = golden::flag(file, group, "plk");
  // The reference ignores this option where one layer takes a key, but for its transformer.
  if (golden::flag(file, group, "plb") && (key.layers.size() > 1 || name.starts_with("vit")))
    key.layout = Layout::per_layer;
  keyed = key.layers != std::vector<std::int64_t>{-1};
  deny.mode = golden::text(file, group, "deny_mode", "none");
  deny.weight = golden::number(file, group, "w", 0.0);
  deny.margin = golden::number(file, group, "m1", deny.margin);
  deny.margin2 = golden::number(file, group, "m2", deny.margin2);
  deny.gap = golden::number(file, group, "gap", deny.gap);
  deny.warmup_epochs = static_cast<std::int64_t>(golden::number(file, group, "warmup", 0.0));
  const std::string on = golden::text(file, group, "deny_on", "wrong");
  EXPECT_TRUE(on == "wrong" || on == "wrong+no") << on;
  deny.on = on == "wrong" ? std::vector{Pass::wrong} : std::vector{Pass::wrong, Pass::none};
}

Basis Trajectory::basis() const {
  Basis result;
  const auto width = [&](std::int64_t layer) { return dims.at(static_cast<std::size_t>(layer)); };
  std::int64_t widest = 0;
  for (const std::int64_t layer : key.layers) widest = std::max(widest, width(layer));
  for (const std::int64_t layer : key.layers) {
    const bool own = key.layout == Layout::per_layer;
    const std::string suffix = own ? std::to_string(layer) : "";
    const std::int64_t columns = own ? width(layer) : widest;
    at::Tensor stored;
    if (closed()) {
      stored = golden::hash_values(data_seed + 1, static_cast<std::uint64_t>(50 + (own ? layer : 0)), {m, columns}) /
               std::sqrt(static_cast<double>(m));
      golden::expect_check(stored, golden::tensor(file, path("inputs/B" + suffix + "_check")), 1e-12, group + " basis");
    } else {
      stored = golden::widened(file, path("inputs/B" + suffix + "_f32"));
    }
    EXPECT_EQ(stored.size(1), columns) << group;
    result.layers.push_back(stored.narrow(1, 0, width(layer)).contiguous());
  }
  return result;
}

at::Tensor Trajectory::input(std::int64_t step, const std::vector<std::int64_t>& sample_shape) const {
  std::vector<std::int64_t> shape = {batch};
  shape.insert(shape.end(), sample_shape.begin(), sample_shape.end());
  return std::sqrt(3.0) * golden::hash_values(data_seed + 100 + static_cast<std::uint64_t>(step), 0, shape);
}

std::vector<at::Tensor> Trajectory::gauss(std::int64_t step, const KeyRules& rules) const {
  std::vector<at::Tensor> slots;
  std::int64_t first = 0;
  for (std::int64_t j = 0; j < rules.key_slots(); ++j) {
    const std::int64_t width = rules.wrong_width(j);
    if (closed()) {
      slots.push_back(std::sqrt(3.0) *
                      golden::hash_values(data_seed + 2, static_cast<std::uint64_t>(500 + 10 * step + j), {width}));
    } else {
      slots.push_back(golden::widened(file, path("inputs/gauss_f32"))[step].narrow(0, first, width));
    }
    first += width;
  }
  return slots;
}

struct Injections {
  Injection correct, wrong;
};

Injections make_injections(const Trajectory& t, const KeyRules& rules, std::int64_t step, bool deny) {
  if (!t.keyed) return {Injection::none(), Injection::none()};
  const InjectionKind kind{t.key.inject, t.key.gamma};
  const at::Tensor stored = golden::widened(t.file, t.path("inputs/alpha_f32"))[step];  // (slots, batch, m)
  std::vector<at::Tensor> alphas;
  for (std::int64_t s = 0; s < rules.alpha_slots(); ++s) alphas.push_back(stored[s]);
  const auto factors = rules.factors(alphas);
  std::vector<at::Tensor> scaled;
  for (std::size_t l = 0; l < factors.size(); ++l)
    scaled.push_back(alphas[alphas.size() == 1 ? 0 : l] * factors[l].unsqueeze(1));
  Injections result{Injection::of_alphas(t.key.layers, scaled, rules.bases(), kind), Injection::none()};
  if (deny) result.wrong = Injection::of_keys(t.key.layers, rules.wrong_keys(t.gauss(step, rules), t.batch, {}), kind);
  return result;
}

std::vector<std::int64_t> sample_shape_of(const Trajectory& t) {
  return golden::sample_shape(t.name, t.dims[0]);
}

double gradient_norm(Model& model) {
  double squares = 0;
  for (const at::Tensor& p : model.parameters()) squares += p.grad().to(at::kDouble).square().sum().item<double>();
  return std::sqrt(squares);
}

struct Tolerances {
  double first_loss, first_gradient, loss, parameters;
  bool first_step_only = false;
};

// float64: the recommended ones, or 100 times what reversing the batch changed. Where AdamW divides gradients that are
// zero but for rounding (the key part of the attention's bias) by their own size, less can be asked of the parameters.
Tolerances double_tolerances(const Trajectory& t) {
  const double parameters = golden::model_for(t.name) == "vit_tiny" ? 1e-7 : 1e-9;
  return {.first_loss = 1e-10,
          .first_gradient = 1e-10,
          .loss = std::max(1e-10, 100 * golden::number(t.file, t.group, "dev_reorder_loss", 0.0)),
          .parameters = std::max(parameters, 100 * golden::number(t.file, t.group, "dev_reorder_param_rel", 0.0))};
}

// float32: 20 times what the reference lost. Of deep ReLU networks the first step alone is compared: what rounding
// switches in it (float_gradient_tolerance) grows with every further step.
Tolerances float_tolerances(const Trajectory& t) {
  const double gradients = golden::float_gradient_tolerance(t.name);
  return {.first_loss = 1e-5,
          .first_gradient = gradients,
          .loss = std::max(1e-5, 20 * golden::number(t.file, t.group, "dev_f32_loss", 0.0)),
          .parameters = std::max(1e-4, 20 * golden::number(t.file, t.group, "dev_f32_param_rel", 0.0)),
          .first_step_only = gradients > 1e-3};
}

// The passes of one step in the reference's order: correct, [no key], wrong. As one batch where no BatchNorm forbids.
struct StepOutputs {
  Output correct, none, wrong;
};

StepOutputs forward_passes(Model& model, const at::Tensor& x, const Injections& keys, bool denied, bool with_none) {
  std::vector<std::pair<Injection, std::int64_t>> parts = {{keys.correct, x.size(0)}};
  if (denied && with_none) parts.emplace_back(Injection::none(), x.size(0));
  if (denied) parts.emplace_back(keys.wrong, x.size(0));
  std::vector<Output> outputs;
  if (model.couples_samples()) {
    for (const auto& [injection, rows] : parts) outputs.push_back(model.forward(x, injection));
  } else {
    const Output all = model.forward(at::cat(std::vector<at::Tensor>(parts.size(), x)), Injection::stack(parts));
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto first = static_cast<std::int64_t>(i) * x.size(0);
      outputs.push_back({all.logits.narrow(0, first, x.size(0)),
                         {},
                         all.reject.defined() ? all.reject.narrow(0, first, x.size(0)) : at::Tensor()});
    }
  }
  StepOutputs result{.correct = outputs.front(), .none = {}, .wrong = {}};
  if (denied) result.wrong = outputs.back();
  if (denied && with_none) result.none = outputs[1];
  return result;
}

std::shared_ptr<Model> filled_network(const Trajectory& t, at::ScalarType type) {
  auto model = golden::make_network(t.file, t.group, t.name, t.dims[0]);
  golden::fill_closed(*model, t.file.string_attribute(t.group, "rule"),
                      static_cast<std::uint64_t>(t.file.int_attribute(t.group, "seed")), type);
  return model;
}

// A stored trajectory run with our parts in one precision.
class Run {
 public:
  Run(const Trajectory& t, at::ScalarType type, const Tolerances& tolerances);
  void step(std::int64_t step);
  void check_end();

 private:
  // Loss of step `step` with its parts compared.
  at::Tensor loss(std::int64_t step);
  void compare(const std::string& dataset, std::int64_t step, const at::Tensor& value);

  const Trajectory& t_;
  at::ScalarType type_;
  Tolerances tolerances_;
  std::shared_ptr<Model> model_;
  KeyRules rules_;
  const DenyLoss& deny_;
  double weight_;
  Optimiser optimiser_;
};

Run::Run(const Trajectory& t, at::ScalarType type, const Tolerances& tolerances)
    : t_(t),
      type_(type),
      tolerances_(tolerances),
      model_(filled_network(t, type)),
      rules_(t.key, Compat::reference, t.keyed ? t.basis() : Basis{{at::zeros({t.m, 1}, at::kDouble)}}),
      deny_(find_deny_loss(t.deny.mode)),
      weight_(deny_weight(t.deny, 0)),
      optimiser_(t.file.string_attribute(t.group, "opt"), t.file.double_attribute(t.group, "lr"),
                 golden::number(t.file, t.group, "wd", 0.0), model_->parameters()) {
  model_->train();
}

// Stored in float64, but for the loss, of which a float32 run's is there too.
void Run::compare(const std::string& dataset, std::int64_t step, const at::Tensor& value) {
  const std::string name = type_ == at::kDouble ? dataset : dataset + "_f32";
  if (type_ != at::kDouble && dataset != "loss") return;
  golden::expect_close(value.item<double>(), golden::tensor(t_.file, t_.path(name))[step].item<double>(),
                       step == 0 ? tolerances_.first_loss : tolerances_.loss, t_.group + " " + name);
}

at::Tensor Run::loss(std::int64_t step) {
  const bool denied = deny_.per_sample && weight_ > 0;
  const Injections keys = make_injections(t_, rules_, step, denied);
  const at::Tensor x = t_.input(step, sample_shape_of(t_)).to(type_);
  const at::Tensor labels = golden::tensor(t_.file, t_.path("inputs/labels"))[step];
  const StepOutputs outputs = forward_passes(*model_, x, keys, denied, t_.deny.on.size() > 1);
  at::Tensor loss = at::cross_entropy_loss(outputs.correct.logits, labels);
  compare("ce", step, loss);
  if (denied) {
    const at::Tensor term = deny_
                                .per_sample({outputs.correct, &outputs.wrong,
                                             outputs.none.logits.defined() ? &outputs.none : nullptr, labels, t_.deny})
                                .mean();
    compare("deny", step, term);
    loss = loss + weight_ * term;
  }
  compare("loss", step, loss);
  return loss;
}

void Run::step(std::int64_t step) {
  SCOPED_TRACE(t_.group + " step " + std::to_string(step));
  const at::Tensor value = loss(step);
  const bool wide = type_ == at::kDouble;
  if (step == 1 && wide && t_.file.exists(t_.path("buffer_before_backward2_check")))
    golden::expect_buffer_checks(*model_, golden::tensor(t_.file, t_.path("buffer_before_backward2_check")),
                                 tolerances_.parameters, t_.group + " second step");
  value.backward();
  if (step == 0)
    golden::expect_parameter_checks(*model_, true, golden::tensor(t_.file, t_.path("grad_step0_check")),
                                    tolerances_.first_gradient, t_.group + " first gradient");
  if (wide && t_.file.exists(t_.path("grad_norm")))
    golden::expect_close(gradient_norm(*model_), golden::tensor(t_.file, t_.path("grad_norm"))[step].item<double>(),
                         std::max(1e-9, tolerances_.loss), t_.group + " gradient norm");
  optimiser_.step();
  if (step == 0 && wide)
    golden::expect_parameter_checks(*model_, false, golden::tensor(t_.file, t_.path("param_after_1_check")),
                                    tolerances_.parameters, t_.group + " after one step");
}

void Run::check_end() {
  golden::expect_parameter_checks(*model_, false, golden::tensor(t_.file, t_.path("param_final_check")),
                                  tolerances_.parameters, t_.group + " final");
  if (type_ != at::kDouble) return;
  if (t_.file.exists(t_.path("buffer_final_check")))
    golden::expect_buffer_checks(*model_, golden::tensor(t_.file, t_.path("buffer_final_check")),
                                 tolerances_.parameters, t_.group + " final");
  model_->eval();
  golden::expect_close(model_->forward(t_.input(0, sample_shape_of(t_)), Injection::none()).logits,
                       golden::tensor(t_.file, t_.path("eval_logits_nokey_batch0")), tolerances_.parameters,
                       t_.group + " logits after training");
}

void train(const Trajectory& t, at::ScalarType type, const Tolerances& tolerances) {
  Run run(t, type, tolerances);
  for (std::int64_t step = 0; step < (tolerances.first_step_only ? 1 : t.steps); ++step) run.step(step);
  if (!tolerances.first_step_only) run.check_end();
}

// Closed-form wrong keys, as drawn: all slots of a step in one row.
void check_wrong_draws(const Trajectory& t) {
  const KeyRules rules(t.key, Compat::reference, t.basis());
  const at::Tensor checks = golden::tensor(t.file, t.path("inputs/wrong_check"));
  for (std::int64_t step = 0; step < t.steps; ++step)
    golden::expect_check(at::cat(t.gauss(step, rules)), checks[step], 1e-12, t.group + " wrong key");
}

void check_trajectory(const h5::File& file, const std::string& group) {
  golden::expect_known(
      file, group,
      {"basis",      "batch",  "data_seed", "deny_mode", "deny_on", "dev_*", "gamma",      "gap",    "inject",
       "layer_dims", "layers", "lr",        "m",         "m1",      "m2",    "milestones", "name",   "opt",
       "plb",        "plk",    "rule",      "seed",      "std",     "steps", "w",          "warmup", "wd"},
      {"buffer_before_backward2_check", "buffer_final_check", "buffer_names", "buffer_ndim", "buffer_shapes", "ce",
       "deny", "loss", "loss_f32", "grad_norm", "grad_step0_check", "eval_logits_nokey_batch0", "param_after_1_check",
       "param_final_check", "param_names", "param_ndim", "param_shapes"},
      {"inputs"});
  golden::expect_known(file, group + "/inputs", {},
                       {"B_f32", "B[0-9]*_f32", "B_check", "B[0-9]*_check", "alpha_f32", "gauss_f32", "labels",
                        "wrong_check", "x_step0_check"});
  const Trajectory t(file, group);
  golden::expect_check(t.input(0, sample_shape_of(t)), golden::tensor(file, group + "/inputs/x_step0_check"), 1e-12,
                       group + " input");
  if (file.exists(group + "/inputs/wrong_check")) check_wrong_draws(t);
  train(t, at::kDouble, double_tolerances(t));
  train(t, at::kFloat, float_tolerances(t));
}

// Running statistics after training passes in the order that a data set's name tells ("ok_no_wrong"), and what the
// network then says without a key.
void check_bn_order(const h5::File& file, const std::string& group) {
  golden::expect_known(file, group,
                       {"batch", "gamma", "init_rule", "init_seed", "key_phase_correct", "key_phase_wrong",
                        "key_rows_correct", "key_rows_wrong", "layers", "max_abs_diff_*", "x_phase"},
                       {"buffer_names", "buffer_ndim", "buffer_shapes", "ok*", "wrong*", "no*"});
  const auto is_logits = [](const std::string& name) { return name.ends_with("_eval_logits_nokey"); };
  const auto batch = file.int_attribute(group, "batch");
  const auto layers = file.ints_attribute(group, "layers");
  const auto sequences = file.datasets(group);
  const auto logits = std::find_if(sequences.begin(), sequences.end(), is_logits);
  ASSERT_NE(logits, sequences.end());
  const auto classes = file.info(group + "/" + *logits).shape.at(1);
  const auto model =
      make_model("small_resnet", {.sample_shape = golden::sample_shape("resnet03", 0), .classes = classes});
  const auto points = model->injection_points();
  const at::Tensor x = golden::closed_input(file.double_attribute(group, "x_phase"), {batch, 1, 28, 28});
  const auto injection = [&](const std::string& pass) {
    if (pass == "no") return Injection::none();
    const std::string suffix = pass == "ok" ? "correct" : "wrong";
    std::vector<at::Tensor> keys;
    for (const std::int64_t layer : layers)
      keys.push_back(golden::closed_key(layer, file.double_attribute(group, "key_phase_" + suffix),
                                        points.at(static_cast<std::size_t>(layer)).size(),
                                        golden::flag(file, group, "key_rows_" + suffix) ? batch : 1));
    return Injection::of_keys(layers, keys, {Inject::mul, file.double_attribute(group, "gamma")});
  };
  for (const std::string& sequence : sequences) {
    if (sequence.starts_with("buffer_") || is_logits(sequence)) continue;
    SCOPED_TRACE(sequence);
    golden::fill_closed(*model, file.string_attribute(group, "init_rule"),
                        static_cast<std::uint64_t>(file.int_attribute(group, "init_seed")), at::kDouble);
    EXPECT_EQ(model->named_buffers().keys(), file.read_strings(group + "/buffer_names"));
    const at::NoGradGuard no_grad;
    model->train();
    std::istringstream passes(sequence);
    for (std::string pass; std::getline(passes, pass, '_');) {
      EXPECT_TRUE(pass == "ok" || pass == "no" || pass == "wrong") << pass;
      model->forward(x, injection(pass));
    }
    golden::expect_buffer_checks(*model, golden::tensor(file, group + "/" + sequence), 1e-11, group + " " + sequence);
    model->eval();
    golden::expect_close(model->forward(x, Injection::none()).logits,
                         golden::tensor(file, group + "/" + sequence + "_eval_logits_nokey"), 1e-10,
                         group + " " + sequence + " logits");
  }
}

// The reference's search for a key by gradient, run by the parts of K9: Adam on alpha through the differentiable
// rescale, alpha kept inside (1e-6, 1 - 1e-6).
void check_attack(const h5::File& file, const std::string& group) {
  golden::expect_known(file, group,
                       {"batch", "gamma", "init_rule", "init_seed", "layers", "lr", "m", "reject_frac", "semantic_acc",
                        "steps", "target_key_std", "x_phase"},
                       {"B_f32", "alpha0_f32", "alpha_before_step", "alpha_final", "labels", "loss"});
  // The network is example 05's with its reject class.
  const auto model = make_model("small_cnn", {.sample_shape = {1, 28, 28}, .classes = 10, .reject_class = true});
  golden::fill_closed(*model, file.string_attribute(group, "init_rule"),
                      static_cast<std::uint64_t>(file.int_attribute(group, "init_seed")), at::kDouble);
  for (at::Tensor& p : model->parameters()) p.requires_grad_(false);
  KeyConfig config;
  config.layers = file.ints_attribute(group, "layers");
  config.m = file.int_attribute(group, "m");
  const auto points = model->injection_points();
  const at::Tensor secret = golden::tensor(file, group + "/B_f32");
  Basis basis;
  KeyEntry entry{.layers = config.layers,
                 .widths = {},
                 .kind = {Inject::mul, file.double_attribute(group, "gamma")},
                 .std = file.double_attribute(group, "target_key_std"),
                 .m = config.m};
  for (const std::int64_t l : config.layers) {
    entry.widths.push_back(points.at(static_cast<std::size_t>(l)).size());
    basis.layers.push_back(secret.narrow(1, 0, entry.widths.back()).contiguous());
  }
  const KeyRules rules(config, Compat::reference, basis);
  const at::Tensor labels = golden::tensor(file, group + "/labels");
  const Images images{golden::closed_input(file.double_attribute(group, "x_phase"), {labels.size(0), 1, 28, 28}),
                      labels};

  const std::vector<at::Tensor> alphas{golden::widened(file, group + "/alpha0_f32").requires_grad_()};
  const auto loss = alpha_loss(*model, entry, rules, alphas, RejectKind::reject_class);
  const at::Tensor before = golden::tensor(file, group + "/alpha_before_step");
  const auto steps = file.int_attribute(group, "steps");
  std::int64_t step = 0;
  const auto compared = [&](const Images& batch) {
    const at::Tensor value = loss(batch);
    if (step < steps) {
      golden::expect_close(alphas[0].detach().reshape({-1}), before[step], 1e-9, group + " alpha");
      golden::expect_close(value.item<double>(), golden::tensor(file, group + "/loss")[step].item<double>(), 1e-10,
                           group + " loss");
    }
    ++step;
    return value;
  };
  EXPECT_EQ(alpha_search_lr, file.double_attribute(group, "lr"));
  fit(alphas, images, compared,
      {.lr = alpha_search_lr, .steps = steps, .order = {}, .after_each_step = [&] { keep_inside(alphas); }});
  EXPECT_EQ(step, steps + 1);
  golden::expect_close(alphas[0], golden::tensor(file, group + "/alpha_final"), 1e-9, group + " final alpha");
  const auto found = Injection::of_keys(entry.layers, keys_of_alphas(rules, alphas, entry.std), entry.kind);
  const AccessCounts counts = count_access(model->forward(images.x, found), labels, RejectKind::reject_class);
  const auto n = static_cast<double>(counts.samples);
  golden::expect_close(static_cast<double>(counts.correct) / n, file.double_attribute(group, "semantic_acc"), 1e-6,
                       "acc");
  golden::expect_close(static_cast<double>(counts.rejected) / n, file.double_attribute(group, "reject_frac"), 1e-6,
                       "reject");
}

TEST(Golden, TrainingMatchesTheReference) {
  const h5::File file = golden::open("train.h5");
  golden::Tally tally("train.h5");
  golden::expect_known(file, "/", {}, {}, {"*"});  // every group is checked below, whatever its name
  for (const std::string& name : file.groups("/")) {
    const std::string group = "/" + name;
    SCOPED_TRACE(group);
    if (name.starts_with("bn_order")) {
      check_bn_order(file, group);
    } else if (name.starts_with("attack_gradient_alpha")) {
      check_attack(file, group);
    } else {
      check_trajectory(file, group);
    }
    tally.run();
  }
}

}  // namespace
}  // namespace spankey::train_test
