// Damage to key files: every flipped, cut and added byte of every small file is refused in one line.
#include "keyring/container.h"

#include <gmock/gmock.h>

#include <cstring>

#include "base/digest.h"
#include "key_files.h"
#include "keyring/registry.h"
#include "support/expect_error.h"

namespace spankey::test::container_test {
namespace {

using Bytes = std::vector<std::byte>;

struct SmallFile {
  std::string name;
  Bytes bytes;
  bool is_signed;
  // The file is read and opened as its holder does. A change of any byte then shows even under a checksum that fits.
  bool proven;
  std::function<void(std::span<const std::byte>)> open;
};

// Keeps what the files are opened with.
class Files {
 public:
  Files() : owner_(small_owner()), lock_(OwnerLock::fresh(passphrase_, cheap)), person_(fresh_recipient("Ann")) {
    registry_.issue({.serial = 1,
                     .name = "Ann",
                     .issued_at = noon,
                     .not_before = noon,
                     .not_after = noon + a_day,
                     .key_digest = {},
                     .revoked = false,
                     .revoked_at = 0,
                     .reason = {}},
                    draw_alphas(owner_, 1));
    registry_.revoke(1, "lost", noon);
  }

  std::vector<SmallFile> all() {
    const auto signing = owner_.signing_key();
    const auto key = small_key(owner_);
    const auto open_key = [this](std::span<const std::byte> bytes) {
      open_user_key(read_user_key(bytes, "f"), {.recipient = &person_, .passphrase = &passphrase_}, "f");
    };
    return {
        {"user.skk", write_user_key(key, signing), true, true, open_key},
        {"sealed to a person", write_user_key(key, signing, {.recipient = &person_.public_key}), true, true, open_key},
        {"sealed with a passphrase", write_user_key(key, signing, {.passphrase = &passphrase_, .cost = cheap}), true,
         true, open_key},
        {"owner.sks", write_owner(owner_, lock_), false, true,
         [this](auto bytes) { open_owner(bytes, passphrase_, "f"); }},
        {"registry.skr", registry_.write(owner_), false, true,
         [this](auto bytes) { Registry::read(bytes, owner_, "f"); }},
        {"revoked.skl", write_revocations(registry_.revocations(owner_, noon), signing), true, true,
         [](auto bytes) { read_revocations(bytes, "f"); }},
        {"ann.pub", write_recipient_public(person_), false, false,
         [](auto bytes) { read_recipient_public(bytes, "f"); }},
        {"ann.sec", write_recipient_secret(person_, passphrase_, cheap), false, true,
         [this](auto bytes) { read_recipient_secret(bytes, passphrase_, "f"); }},
    };
  }

 private:
  SecretBytes passphrase_ = secret("correct horse");
  Owner owner_;
  OwnerLock lock_;
  RecipientPair person_;
  Registry registry_;
};

constexpr std::size_t signature_block = 96;

void repair_checksum(Bytes& bytes, bool is_signed) {
  const auto end = bytes.size() - (is_signed ? signature_block : 0) - 4;
  const auto checksum = crc32c(std::span(bytes).first(end));
  std::memcpy(bytes.data() + end, &checksum, sizeof checksum);
}

TEST(Container, EveryFlippedByteIsRefused) {
  Files files;
  for (const auto& file : files.all()) {
    ASSERT_NO_THROW(file.open(file.bytes)) << file.name;
    for (std::size_t i = 0; i < file.bytes.size(); ++i)
      for (const int bit : {0, 7}) {
        auto changed = file.bytes;
        changed[i] ^= static_cast<std::byte>(1 << bit);
        ASSERT_THAT(refusal([&] { file.open(changed); }), testing::StartsWith("f")) << file.name << " byte " << i;
      }
  }
}

// Whoever changes a file on purpose repairs its checksum.
TEST(Container, AFlippedByteUnderAChecksumThatFitsIsRefused) {
  Files files;
  for (const auto& file : files.all())
    for (std::size_t i = 0; file.proven && i + 4 < file.bytes.size() - (file.is_signed ? signature_block : 0); ++i) {
      auto changed = file.bytes;
      changed[i] ^= static_cast<std::byte>(1);
      repair_checksum(changed, file.is_signed);
      ASSERT_THAT(refusal([&] { file.open(changed); }), testing::StartsWith("f")) << file.name << " byte " << i;
    }
}

TEST(Container, EveryCutIsRefused) {
  Files files;
  for (const auto& file : files.all())
    for (std::size_t size = 0; size < file.bytes.size(); ++size)
      ASSERT_THAT(refusal([&] { file.open(std::span(file.bytes).first(size)); }), testing::StartsWith("f"))
          << file.name << " cut to " << size;
}

TEST(Container, EveryAddedByteIsRefused) {
  Files files;
  for (const auto& file : files.all())
    for (std::size_t i = 0; i <= file.bytes.size(); ++i) {
      auto longer = file.bytes;
      longer.insert(longer.begin() + static_cast<std::ptrdiff_t>(i), std::byte{0});
      ASSERT_THAT(refusal([&] { file.open(longer); }), testing::StartsWith("f")) << file.name << " byte " << i;
    }
}

TEST(Container, ASignatureIsRefusedWhereNoneBelongs) {
  Files files;
  const auto all = files.all();
  const auto signature = std::span(all[0].bytes).last(signature_block);
  for (const auto& file : all) {
    auto longer = file.bytes;
    longer.insert(longer.end(), signature.begin(), signature.end());
    EXPECT_NE(refusal([&] { file.open(longer); }), "") << file.name;
  }
}

TEST(Container, LengthsBeyondTheFileAreRefusedBeforeAnythingIsAllocated) {
  Files files;
  auto bytes = files.all()[0].bytes;
  std::uint32_t header_length = 0;
  std::memcpy(&header_length, bytes.data() + 16, sizeof header_length);
  auto long_content = bytes;
  const std::uint64_t huge = std::uint64_t{1} << 62;
  std::memcpy(long_content.data() + 20 + header_length, &huge, sizeof huge);
  EXPECT_THAT(refusal([&] { parse_container(long_content, FileType::user_key, "f"); }),
              testing::HasSubstr("content of 4611686018427387904 bytes"));
  const std::uint32_t long_header = 1 << 30;
  std::memcpy(bytes.data() + 16, &long_header, sizeof long_header);
  EXPECT_THAT(refusal([&] { parse_container(bytes, FileType::user_key, "f"); }),
              testing::HasSubstr("a header of 1073741824 bytes; accepted: up to 65536"));
}

TEST(Container, AnotherTypeIsNamed) {
  Files files;
  EXPECT_ERROR(parse_container(files.all()[0].bytes, FileType::owner, "f"), ExitCode::bad_input,
               "f: a user's key (3); accepted: an owner's secret");
}

// RFC 8032, section 7.1, test 2: a seed, its public key and its signature of one byte.
TEST(Signing, IsThatOfTheStandard) {
  const auto bytes = [](std::string_view hex) {
    std::vector<std::uint8_t> result;
    for (std::size_t i = 0; i < hex.size(); i += 2)
      result.push_back(static_cast<std::uint8_t>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
    return result;
  };
  const auto seed = bytes("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  const SigningKey key(std::as_bytes(std::span(seed)));
  EXPECT_THAT(key.public_key(),
              testing::ElementsAreArray(bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")));
  const std::byte message[] = {std::byte{0x72}};
  const auto signature = key.sign(message);
  EXPECT_THAT(signature,
              testing::ElementsAreArray(bytes("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                                              "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")));
  EXPECT_TRUE(verify_signature(message, signature, key.public_key()));
  EXPECT_FALSE(verify_signature(message, signature, key.public_key(), SignatureKind::prehashed));
}

}  // namespace
}  // namespace spankey::test::container_test
