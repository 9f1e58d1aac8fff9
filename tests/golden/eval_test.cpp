// eval.h5: the counting of an evaluation against the reference's result dictionaries.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "golden/golden.h"
#include "spankey/deny/access.h"

namespace spankey::eval_test {
namespace {

// Counts one pass batch by batch, as an evaluation does.
AccessCounts counts_of(const h5::File& file, const std::string& group, const std::string& pass, RejectKind reject) {
  const at::Tensor logits = golden::tensor(file, group + "/logits_" + pass + "_f32");
  const at::Tensor labels = golden::tensor(file, group + "/labels");
  AccessCounts total;
  std::int64_t first = 0;
  for (const std::int64_t n : file.ints_attribute(group, "batch_sizes")) {
    Output output{logits.narrow(0, first, n), {}, {}};
    if (reject == RejectKind::reject_head)
      output.reject = golden::tensor(file, group + "/aux_" + pass + "_f32").narrow(0, first, n);
    total += count_access(output, labels.narrow(0, first, n), reject);
    first += n;
  }
  EXPECT_EQ(first, labels.size(0));
  EXPECT_EQ(total.samples, file.int_attribute(group, "n"));
  return total;
}

// The reference's figure `name`, which ends in the pass.
double figure(const AccessCounts& counts, RejectKind reject, const std::string& name) {
  const auto share = [&](auto count) { return static_cast<double>(count) / static_cast<double>(counts.samples); };
  if (name.starts_with("extra_strip_acc_")) return share(counts.strip);
  if (name.starts_with("reject_frac_")) return share(counts.rejected);
  // With a head the reference counts the class alone, whatever the head says.
  return share(reject == RejectKind::reject_head ? counts.strip : counts.correct);
}

// The mean of sigma(reject logit), which no evaluation here reports: it says that the file is read as it was meant.
double mean_rejection(const h5::File& file, const std::string& group, const std::string& pass) {
  return golden::tensor(file, group + "/aux_" + pass + "_f32").to(at::kDouble).sigmoid().mean().item<double>();
}

TEST(Golden, EvaluationsMatchTheReference) {
  const h5::File file = golden::open("eval.h5");
  golden::Tally tally("eval.h5");
  golden::expect_known(file, "/", {}, {}, {"ex0[1-6]*"});
  for (const std::string& name : file.groups("/")) {
    const std::string group = "/" + name;
    SCOPED_TRACE(group);
    const std::vector<std::string> figures = {"acc_*", "reject_frac_*", "aux_reject_prob_*", "extra_strip_acc_*"};
    std::vector<std::string> attributes = {"C", "n", "example", "batch_sizes", "random_baseline", "extra_note"};
    attributes.insert(attributes.end(), figures.begin(), figures.end());
    golden::expect_known(file, group, attributes, {"labels", "logits_*_f32", "aux_*_f32"});

    // The reject class is there where the network has a logit more than the 1 / baseline classes.
    const auto classes = std::lround(1.0 / file.double_attribute(group, "random_baseline"));
    const RejectKind reject = file.exists(group + "/aux_ok_f32")              ? RejectKind::reject_head
                              : file.int_attribute(group, "C") == classes + 1 ? RejectKind::reject_class
                                                                              : RejectKind::none;
    const std::map<std::string, std::string> passes = {{"_no_key", "no"},       {"_correct_key", "ok"},
                                                       {"_wrong_key", "wrong"}, {"acc_no", "no"},
                                                       {"acc_ok", "ok"},        {"acc_wrong", "wrong"}};
    int checked = 0;
    for (const std::string& attribute : file.attribute_names(group)) {
      for (const auto& [ending, pass] : passes) {
        if (!attribute.ends_with(ending)) continue;
        const double found = attribute.starts_with("aux_reject_prob_")
                                 ? mean_rejection(file, group, pass)
                                 : figure(counts_of(file, group, pass, reject), reject, attribute);
        golden::expect_close(found, file.double_attribute(group, attribute), 1e-6, group + " " + attribute);
        ++checked;
      }
    }
    EXPECT_GE(checked, 3);
    tally.run();
  }
}

}  // namespace
}  // namespace spankey::eval_test
