// The library for programs of others gives the logits that the network itself gives.
#include <gmock/gmock.h>
#include <spankey/runtime.h>

#include "gated_files.h"
#include "keyring/recipient.h"

namespace spankey::test::runtime_test {
namespace {

class Runtime : public GatedFiles {
 protected:
  static constexpr std::size_t images = 5, pixels_of_image = 784;

  std::span<const std::uint8_t> pixels() const {
    return experiment.dataset->test().images.first(images * pixels_of_image);
  }

  // (images, 11), the reject class last.
  at::Tensor expected(const Injection& key) const {
    const EvaluationMode mode(*experiment.model);
    SplitReader reader(experiment, experiment.dataset->test());
    return experiment.model->forward(reader.rows(0, images).x, key).logits;
  }

  static void expect_equal(const runtime::Answers& answers, const at::Tensor& logits) {
    const auto classes = logits.narrow(1, 0, 10).contiguous();
    EXPECT_TRUE(at::allclose(at::tensor(answers.logits).view({-1, 10}), classes, 0, 1e-5));
    for (std::int64_t i = 0; i < logits.size(0); ++i) {
      const auto at = static_cast<std::size_t>(i);
      EXPECT_EQ(answers.rejected[at] == 1, logits[i].argmax().item<std::int64_t>() == 10);
      EXPECT_EQ(static_cast<std::int64_t>(answers.best_class(at)), classes[i].argmax().item<std::int64_t>());
      EXPECT_NEAR(answers.reject_probability[at], logits[i].softmax(0)[10].item<float>(), 1e-5);
    }
  }
};

TEST_F(Runtime, AnswersAsTheNetworkDoes) {
  auto model = runtime::Model::open((folder / "model.skm").string());
  EXPECT_EQ(model.info().network, "small_cnn");
  EXPECT_EQ(model.info().classes.size(), 10U);
  EXPECT_TRUE(model.info().takes_images && model.info().can_reject && model.info().takes_keys);
  expect_equal(model.answer(pixels(), images), expected(Injection::none()));
  const auto key = model.use_key((folder / "user.skk").string());
  EXPECT_EQ(key.name, "Ann");
  expect_equal(model.answer(pixels(), images), expected(injection()));
  model.use_no_key();
  expect_equal(model.answer(pixels(), images), expected(Injection::none()));
}

TEST_F(Runtime, OpensAKeyThatIsSealedToAPerson) {
  const std::string text = "Ann's passphrase";
  const auto passphrase = SecretBytes::copy_of(std::as_bytes(std::span(text)));
  const auto ann = fresh_recipient("Ann");
  write_key("sent.skk", [](UserKey&) {}, nullptr, {.recipient = &ann.public_key});
  write_durably(folder / "ann.sec", write_recipient_secret(ann, passphrase, {.passes = 1, .memory_bytes = 8192}), 0600);
  auto model = runtime::Model::open((folder / "model.skm").string());
  const auto key = (folder / "sent.skk").string(), secret = (folder / "ann.sec").string();
  EXPECT_THROW(model.use_key(key), runtime::Error);
  EXPECT_THROW(model.use_key(key, {.recipient = secret, .passphrase = "another"}), runtime::Error);
  model.use_key(key, {.recipient = secret, .passphrase = text});
  expect_equal(model.answer(pixels(), images), expected(injection()));
}

TEST_F(Runtime, ErrorsAreOfOneKindAndLeaveTheModelAsItWas) {
  auto model = runtime::Model::open((folder / "model.skm").string());
  model.use_key((folder / "user.skk").string());
  write_key("late.skk", [&](UserKey& key) { key.not_after = now - 60; });
  EXPECT_THROW(model.use_key((folder / "late.skk").string()), runtime::Error);
  EXPECT_THROW(model.answer(pixels().first(10), 1), runtime::Error);
  // 2^60 images of 784 bytes are 0 bytes, modulo 2^64.
  try {
    model.answer(pixels().first(0), std::size_t{1} << 60);
    ADD_FAILURE() << "samples that are not there are answered";
  } catch (const runtime::Error& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("0 values are not 1152921504606846976 samples of 784"));
  }
  EXPECT_EQ(model.answer(pixels().first(0), 0).rejected.size(), 0U);
  EXPECT_THROW(runtime::Model::open((folder / "none.skm").string()), runtime::Error);
  expect_equal(model.answer(pixels(), images), expected(injection()));
}

}  // namespace
}  // namespace spankey::test::runtime_test
