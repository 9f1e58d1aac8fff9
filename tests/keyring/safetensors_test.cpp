#include "keyring/safetensors.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "support/expect_error.h"

namespace spankey::safetensors_test {
namespace {

using testing::HasSubstr;

// An image made by hand: the length of the header, the header, the bytes.
std::vector<std::byte> image(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::vector<std::byte> bytes(sizeof length + header.size() + data.size());
  std::memcpy(bytes.data(), &length, sizeof length);
  std::memcpy(bytes.data() + sizeof length, header.data(), header.size());
  if (!data.empty()) std::memcpy(bytes.data() + sizeof length + header.size(), data.data(), data.size());
  return bytes;
}

Safetensors example() {
  return {.tensors = {{"fc.weight", at::arange(6, at::kFloat).reshape({2, 3}).t()},  // not contiguous
                      {"mean", at::tensor({0.5, -1.0}, at::kDouble)},
                      {"count", at::full({}, 7, at::kLong)},
                      {"none", at::empty({0, 4}, at::kInt)},
                      {"byte", at::arange(5, at::kByte)}},
          .metadata = {{"architecture", "mlp"}, {"name", "\"ä\""}}};
}

TEST(Safetensors, RoundTripKeepsEveryBit) {
  const auto before = example();
  const auto bytes = encode_safetensors(before);
  const auto after = decode_safetensors(bytes, "file");
  EXPECT_EQ(after.metadata, before.metadata);
  EXPECT_EQ(weights_digest(after.tensors, {}), weights_digest(before.tensors, {}));
  std::uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof length);
  EXPECT_EQ(length % 8, 0U);  // so that the tensors are aligned in a mapped file
}

// The bytes as the format's own description has them (github.com/huggingface/safetensors, "Format").
TEST(Safetensors, ReadsAFileThatWasWrittenByHand) {
  const std::string data("\0\0\x80\x3f\0\0\0\xc0", 8);  // 1.0 and -2.0
  const auto content =
      decode_safetensors(image(R"({"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}  )", data), "file");
  ASSERT_EQ(content.tensors.size(), 1U);
  EXPECT_EQ(content.tensors[0].name, "w");
  EXPECT_TRUE(at::equal(content.tensors[0].value, at::tensor({1.0F, -2.0F}).reshape({2, 1})));
}

TEST(Safetensors, RefusesWhatDoesNotFitTogether) {
  const auto refused = [](const std::string& header, const std::string& data, const std::string& sentence) {
    EXPECT_ERROR(decode_safetensors(image(header, data), "file"), ExitCode::bad_input,
                 testing::AllOf(HasSubstr("file: no safetensors file: "), HasSubstr(sentence)));
  };
  const std::string four(4, 'x'), eight(8, 'x');
  refused("[]", "", "no JSON object");
  refused("{", "", "no JSON object");
  refused("{\"a\":\"\xff\"}", "", "not UTF-8");
  refused(R"({"a":{"b":{"c":{"d":[[]]}}}})", "", "no JSON object");
  refused(R"({"__metadata__":{"a":1}})", "", "is no text");
  refused(R"({"w":{"dtype":"F32","shape":[1]}})", four, "not described by");
  refused(R"({"w":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", four, "accepted: F32");
  refused(R"({"w":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", four, "whole numbers");
  refused(R"({"w":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", four, "whole numbers");
  refused(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", four, "outside of the file");
  refused(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", four, "outside of the file");
  refused(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", four, "not what its shape needs");
  // 2^32 x 2^32 floats are 0 bytes in 64 bits: nothing may be allocated for them.
  refused(R"({"w":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", "", "its shape needs");
  refused(
      R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      eight, "names a tensor twice");
  refused(
      R"({"v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
      four, "the one before it ends at 4");
  refused(R"({"v":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", eight, "4 bytes belong to no tensor");
}

TEST(Safetensors, EveryCutIsRefused) {
  const auto bytes = encode_safetensors(example());
  for (std::size_t length = 0; length < bytes.size(); ++length)
    EXPECT_ERROR(decode_safetensors(std::span(bytes).first(length), "file"), ExitCode::bad_input,
                 HasSubstr("file: no safetensors file: "));
}

// A flipped byte either is refused or changes a name, a text or a value: it never ends the program otherwise.
TEST(Safetensors, EveryFlippedByteOfTheHeaderIsRefusedOrSeen) {
  const auto whole = example();
  const auto bytes = encode_safetensors(whole);
  const auto digest = weights_digest(whole.tensors, {});
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    auto flipped = bytes;
    flipped[at] ^= std::byte{1};
    try {
      const auto read = decode_safetensors(flipped, "file");
      EXPECT_TRUE(read.metadata != whole.metadata || weights_digest(read.tensors, {}) != digest) << "byte " << at;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_input) << "byte " << at;
    }
  }
}

}  // namespace
}  // namespace spankey::safetensors_test
