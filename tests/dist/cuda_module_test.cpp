// The CUDA module as the real program opens it. Where there is a GPU, launch/gpu_check has more to say.
#include "dist/cuda_module.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "support/program.h"

namespace spankey::test::cuda_module_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;

// The program with the libraries of the full wheel, where bench/ has brought one.
std::string with_full_wheel() {
  std::string folders;
  const fs::path packages = source(".venv-bench/lib");
  if (fs::exists(packages))
    for (const auto& python : fs::directory_iterator(packages))
      for (const char* name : {"cu13", "cudnn", "cusparselt", "nccl", "nvshmem"})
        folders += (python.path() / "site-packages/nvidia" / name / "lib").string() + ":";
  return "LD_LIBRARY_PATH=" + folders + "/usr/local/cuda/lib64";
}

Outcome devices(const std::string& setting) {
  return run({"/usr/bin/env", setting, "CUDA_VISIBLE_DEVICES=", program(), "devices"}, fs::temp_directory_path());
}

TEST(CudaModule, OpensAndFindsNoGpu) {
  if (!SPANKEY_HAS_CUDA) GTEST_SKIP() << "this build has no CUDA module";
  const auto outcome = devices(with_full_wheel());
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  if (outcome.out.find("cannot open shared object file") != std::string::npos)
    GTEST_SKIP() << "libraries of the full wheel are missing: " << outcome.out;
  EXPECT_THAT(outcome.out, HasSubstr("cuda  none: no GPU is visible to this process")) << outcome.err;
}

TEST(CudaModule, AskingForAGpuThatIsNotThereIsOneLineAndExitCode2) {
  const auto outcome = run({"/usr/bin/env", with_full_wheel(), "CUDA_VISIBLE_DEVICES=", program(), "train",
                            source("configs/argmax_mlp.toml").string(), "train.device=cuda"},
                           fs::temp_directory_path());
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("train.device = \"cuda\""), HasSubstr("accepted: cpu, auto")));
}

// NVIDIA's rules: machine code runs on its generation from its own revision on, and what the driver can compile on all
// later ones.
TEST(CudaModule, KnowsForWhichGpusItsCodeIs) {
  const auto fits = [](const char* built, int major, int minor) {
    return spankey::detail::has_code_for(built, major, minor);
  };
  EXPECT_TRUE(fits("80,90,100", 8, 0));
  EXPECT_TRUE(fits("80,90,100", 8, 9));
  EXPECT_TRUE(fits("80,90,100", 12, 0));
  EXPECT_FALSE(fits("80,90,100", 7, 5));
  EXPECT_TRUE(fits("80-real", 8, 6));
  EXPECT_FALSE(fits("80-real", 9, 0));
  EXPECT_TRUE(fits("80-virtual", 9, 0));
  EXPECT_FALSE(fits("90-real,80-real", 10, 0));
  EXPECT_FALSE(fits("90a-real", 10, 0));
  EXPECT_FALSE(fits("86-real", 8, 0));
  EXPECT_TRUE(fits("native", 7, 0));
}

TEST(CudaModule, ReasonIsOneLine) {
  const auto outcome = devices("LD_LIBRARY_PATH=");
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(std::count(outcome.out.begin(), outcome.out.end(), '\n'), 2) << outcome.out;
  EXPECT_THAT(outcome.out, AnyOf(HasSubstr("built without its CUDA module"), HasSubstr("--with-cuda"),
                                 HasSubstr("no GPU is visible to this process")));
}

}  // namespace
}  // namespace spankey::test::cuda_module_test
