// Training in bfloat16 on the built-in data.
#include "small_run.h"

namespace spankey::test::precision_test {
namespace {

class PrecisionRun : public SmallRun {};

// What the kernel says, not what the program found out.
bool cpu_lists_bf16() {
  std::ifstream file("/proc/cpuinfo");
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  return text.find("avx512_bf16") != std::string::npos || text.find("amx_bf16") != std::string::npos;
}

TEST_F(PrecisionRun, Bf16LearnsWhatFloat32Learns) {
  if (!cpu_lists_bf16()) {
    const auto outcome = test::run(train(1, "bf16", {"train.precision=bf16"}), folder.path());
    EXPECT_EQ(outcome.exit_code, 2);
    EXPECT_NE(outcome.err.find("train.precision = \"bf16\": this processor has no"), std::string::npos) << outcome.err;
    return;
  }
  const std::vector<std::string> epoch{"data.limit=0", "train.epochs=1", "train.global_batch=32", "eval.keys=2"};
  for (const std::string precision : {"float32", "bf16"}) {
    auto options = epoch;
    options.push_back("train.precision=" + precision);
    expect_success(train(1, precision, options));
  }
  const double wide = result("float32")["correct_key"]["accuracy"]["mean"],
               narrow = result("bf16")["correct_key"]["accuracy"]["mean"];
  EXPECT_GT(wide, 0.8);
  EXPECT_NEAR(narrow, wide, 0.015);
  EXPECT_NE(result("bf16")["weights_sha256"], result("float32")["weights_sha256"]);
}

}  // namespace
}  // namespace spankey::test::precision_test
