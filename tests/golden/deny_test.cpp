// deny.h5: every deny loss with its gradients, the warm-up of its weight, and the learning rates.
#include "spankey/deny/deny.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <optional>

#include "golden/golden.h"
#include "train/schedule.h"

namespace spankey::deny_test {
namespace {

const std::vector<std::string> passes = {"ok", "wrong", "no"};

// The stored logits of the three passes as leaves.
struct Passes {
  Output outputs[3];
  Passes(const h5::File& file, const std::string& set, at::ScalarType type, bool head) {
    for (std::size_t i = 0; i < 3; ++i) {
      outputs[i].logits = golden::tensor(file, set + "/logits_" + passes[i] + "_f32").to(type).requires_grad_();
      if (head) outputs[i].reject = golden::tensor(file, set + "/aux_" + passes[i] + "_f32").to(type).requires_grad_();
    }
  }
  void zero_grad() {
    for (Output& output : outputs) {
      output.logits.mutable_grad() = at::zeros_like(output.logits);
      if (output.reject.defined()) output.reject.mutable_grad() = at::zeros_like(output.reject);
    }
  }
  void expect_gradients(const h5::File& file, const std::string& prefix, double tolerance) const {
    for (std::size_t i = 0; i < 3; ++i) {
      golden::expect_close(outputs[i].logits.grad(), golden::tensor(file, prefix + "_" + passes[i]), tolerance,
                           prefix + " " + passes[i]);
      if (outputs[i].reject.defined())
        golden::expect_close(outputs[i].reject.grad(), golden::tensor(file, prefix + "_aux_" + passes[i]), tolerance,
                             prefix + " aux " + passes[i]);
    }
  }
};

void check_case(const h5::File& file, const std::string& set, const std::string& group, at::ScalarType type,
                double tolerance) {
  DenyConfig config;
  config.mode = file.string_attribute(group, "deny_mode");
  config.weight = file.double_attribute(group, "weight");
  config.margin = file.double_attribute(group, "margin");
  config.margin2 = file.double_attribute(group, "margin2");
  config.gap = file.double_attribute(group, "gap");
  const std::string on = file.string_attribute(group, "deny_on");
  ASSERT_TRUE(on == "wrong" || on == "wrong+no") << on;
  const DenyLoss& loss = find_deny_loss(config.mode);
  Passes all(file, set, type, loss.reject == RejectKind::reject_head);
  const at::Tensor labels = golden::tensor(file, set + "/labels");
  const DenyInputs inputs{all.outputs[0], &all.outputs[1], on == "wrong+no" ? &all.outputs[2] : nullptr, labels,
                          config};

  const at::Tensor ce = at::cross_entropy_loss(all.outputs[0].logits, labels);
  golden::expect_close(ce.item<double>(), file.double_attribute(group, "ce"), tolerance, group + " ce");
  at::Tensor total = ce;
  if (loss.per_sample) {
    const at::Tensor each = loss.per_sample(inputs);
    ASSERT_EQ(each.sizes(), labels.sizes());
    const at::Tensor deny = each.mean();
    golden::expect_close(deny.item<double>(), file.double_attribute(group, "deny"), tolerance, group + " deny");
    all.zero_grad();
    deny.backward({}, true);
    all.expect_gradients(file, group + "/deny_grad", tolerance);
    total = ce + config.weight * deny;
  }
  golden::expect_close(total.item<double>(), file.double_attribute(group, "loss"), tolerance, group + " loss");
  all.zero_grad();
  total.backward();
  all.expect_gradients(file, group + "/total_grad", tolerance);
}

void check_set(const h5::File& file, const std::string& set, golden::Tally& tally) {
  golden::expect_known(file, set, {"C", "n", "seed"}, {"labels", "logits_*_f32", "aux_*_f32"}, {"ex0[456]_*"});
  for (const std::string& name : file.groups(set)) {
    const std::string group = set + "/" + name;
    SCOPED_TRACE(group);
    golden::expect_known(
        file, group, {"ce", "deny", "loss", "weight", "margin", "margin2", "gap", "deny_mode", "deny_on", "example"},
        {"deny_grad_ok", "deny_grad_wrong", "deny_grad_no", "deny_grad_aux_*", "total_grad_ok", "total_grad_wrong",
         "total_grad_no", "total_grad_aux_*"});
    check_case(file, set, group, at::kDouble, 1e-12);
    check_case(file, set, group, at::kFloat, 2e-6);
    tally.run();
  }
}

void check_warmup(const h5::File& file) {
  golden::expect_known(file, "/warmup", {}, {"table"});
  const at::Tensor table = golden::tensor(file, "/warmup/table");
  for (std::int64_t r = 0; r < table.size(0); ++r) {
    DenyConfig config;
    config.weight = table[r][0].item<double>();
    config.warmup_epochs = static_cast<std::int64_t>(table[r][1].item<double>());
    for (std::int64_t epoch = 0; epoch + 2 < table.size(1); ++epoch)
      golden::expect_close(deny_weight(config, epoch), table[r][epoch + 2].item<double>(), 1e-12, "warm-up");
  }
}

void check_schedule(const h5::File& file, const std::string& group) {
  golden::expect_known(file, group, {"epochs", "lr", "milestones"}, {"lr_per_epoch"});
  OptimConfig config;
  config.lr = file.double_attribute(group, "lr");
  config.milestones = file.ints_attribute(group, "milestones");
  config.schedule = config.milestones == std::vector<std::int64_t>{-1} ? Schedule::cosine : Schedule::multistep;
  const at::Tensor rates = golden::tensor(file, group + "/lr_per_epoch");
  for (std::int64_t epoch = 0; epoch < rates.size(0); ++epoch)
    golden::expect_close(learning_rate(config, {epoch, file.int_attribute(group, "epochs")}),
                         rates[epoch].item<double>(), 1e-12, group);
}

TEST(Golden, DenyLossesMatchTheReference) {
  const h5::File file = golden::open("deny.h5");
  golden::Tally tally("deny.h5");
  golden::expect_known(file, "/", {}, {}, {"*"});  // every group is checked below, whatever its name
  for (const std::string& name : file.groups("/")) {
    const std::string group = "/" + name;
    if (name == "warmup") {
      check_warmup(file);
      tally.run();
    } else if (name == "lr_schedule") {
      golden::expect_known(file, group, {}, {}, {"case*"});
      for (const std::string& entry : file.groups(group)) {
        check_schedule(file, group + "/" + entry);
        tally.run();
      }
    } else {
      golden::expect_known(file, group, {}, {}, {"C[0-9]*"});
      for (const std::string& classes : file.groups(group)) check_set(file, group + "/" + classes, tally);
    }
  }
}

}  // namespace
}  // namespace spankey::deny_test
