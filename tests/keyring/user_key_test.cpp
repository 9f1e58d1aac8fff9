// Users' keys: seals, passphrases, and when a key is refused.
#include "keyring/user_key.h"

#include <gmock/gmock.h>

#include "key_files.h"
#include "keyring/container.h"

namespace spankey::test::user_key_test {
namespace {

using testing::HasSubstr;

std::vector<float> values_of(const UserKey& key) {
  const auto values = key.vectors.floats();
  return {values.begin(), values.end()};
}

TEST(UserKey, ComesBackFromEverySeal) {
  const auto owner = small_owner();
  const auto key = small_key(owner);
  const auto person = fresh_recipient("Ann");
  const auto passphrase = secret("correct horse");
  for (const SealWith& with :
       {SealWith{}, SealWith{.recipient = &person.public_key}, SealWith{.passphrase = &passphrase, .cost = cheap}}) {
    auto file = read_user_key(write_user_key(key, owner.signing_key(), with), "f");
    EXPECT_EQ(file.owner, owner.public_key);
    EXPECT_EQ(file.seal == KeySeal::none, !file.key.vectors.empty());
    const auto opened = open_user_key(std::move(file), {.recipient = &person, .passphrase = &passphrase}, "f");
    EXPECT_EQ(values_of(opened), values_of(key));
    EXPECT_EQ(opened.serial, 1U);
    EXPECT_EQ(opened.name, "Ann");
    EXPECT_EQ(opened.sites, owner.sites);
    EXPECT_EQ(opened.vector_at(1).data(), opened.vectors.floats().data() + 16);
  }
}

TEST(UserKey, OpensForNobodyElse) {
  const auto owner = small_owner();
  const auto key = small_key(owner);
  const auto person = fresh_recipient("Ann"), other = fresh_recipient("Bob");
  const auto passphrase = secret("correct horse"), wrong = secret("correct hors");
  const auto sealed = read_user_key(write_user_key(key, owner.signing_key(), {.recipient = &person.public_key}), "f");
  const auto locked =
      read_user_key(write_user_key(key, owner.signing_key(), {.passphrase = &passphrase, .cost = cheap}), "f");
  const auto open = [](const UserKeyFile& file, const OpenWith& with) {
    return refusal([&] { open_user_key(read_user_key(file.bytes, "f"), with, "f"); });
  };
  EXPECT_THAT(open(sealed, {}), HasSubstr("sealed to a person"));
  EXPECT_THAT(open(sealed, {.recipient = &other}), HasSubstr("sealed to another person than Bob"));
  EXPECT_THAT(open(locked, {}), HasSubstr("sealed with a passphrase, and none is given"));
  EXPECT_THAT(open(locked, {.passphrase = &wrong}), HasSubstr("the passphrase is another one"));
  EXPECT_EQ(open(sealed, {.recipient = &person}), "");
  EXPECT_EQ(open(locked, {.passphrase = &passphrase}), "");
}

TEST(UserKey, IsRefusedOutsideOfItsUse) {
  const auto owner = small_owner();
  const auto key = small_key(owner);
  const auto other = small_owner();
  const RevocationList by_serial{.model_id = owner.model_id,
                                 .sequence = 4,
                                 .issued_at = noon,
                                 .laboratory = false,
                                 .keys = {{1, {}}},
                                 .owner = owner.public_key};
  auto by_digest = by_serial, of_others = by_serial, foreign = by_serial;
  by_digest.keys = {{9, key.key_digest}};
  of_others.keys = {{2, {}}};
  foreign.owner = other.public_key;
  const KeyUse use{.model_id = owner.model_id, .owner = owner.public_key, .now = noon + 10, .revoked = nullptr};
  const auto with = [&](auto change) {
    auto changed = use;
    change(changed);
    return refusal([&] { require_usable(key, owner.public_key, changed, "f"); });
  };
  EXPECT_EQ(with([](KeyUse&) {}), "");
  EXPECT_EQ(with([](KeyUse& u) { u.now = noon + a_day - 1; }), "");
  EXPECT_EQ(with([&](KeyUse& u) { u.revoked = &of_others; }), "");
  EXPECT_THAT(with([](KeyUse& u) { u.now = noon + a_day; }), HasSubstr("it was valid until 2027-01-16 08:00:00 UTC"));
  EXPECT_THAT(with([](KeyUse& u) { u.now = noon + 9; }), HasSubstr("it is valid from 2027-01-15 08:00:10 UTC"));
  EXPECT_THAT(with([](KeyUse& u) { u.now = noon - 1; }), HasSubstr("it was issued at 2027-01-15 08:00:00 UTC"));
  EXPECT_THAT(with([](KeyUse& u) { u.model_id = std::string(64, 'b'); }),
              HasSubstr("it belongs to model aaaaaaaaaaaa"));
  EXPECT_THAT(with([&](KeyUse& u) { u.owner = other.public_key; }), HasSubstr("signed by another owner"));
  EXPECT_THAT(with([&](KeyUse& u) { u.revoked = &by_serial; }), HasSubstr("it is revoked (list 4"));
  EXPECT_THAT(with([&](KeyUse& u) { u.revoked = &by_digest; }), HasSubstr("it is revoked"));
  EXPECT_THAT(with([&](KeyUse& u) { u.revoked = &foreign; }), HasSubstr("another owner's"));
}

// A header of a sealed key with other costs of Argon2, signed by its owner so that nothing else is wrong with it.
std::string refused_cost(const nlohmann::json& argon2) {
  const auto owner = small_owner();
  const auto passphrase = secret("correct horse");
  const auto bytes = write_user_key(small_key(owner), owner.signing_key(), {.passphrase = &passphrase, .cost = cheap});
  const auto file = parse_container(bytes, FileType::user_key, "f");
  auto header = file.header;
  header["argon2"].update(argon2);
  const auto signer = owner.signing_key();
  const auto changed = make_container(container_prefix(FileType::user_key, header), file.payload, &signer);
  return refusal([&] { open_user_key(read_user_key(changed, "f"), {.passphrase = &passphrase}, "f"); });
}

TEST(Argon2, AbsurdCostsAreRefusedBeforeMemoryIsTaken) {
  EXPECT_THAT(refused_cost({{"memory_bytes", (std::int64_t{1} << 30) + 1}}),
              HasSubstr("'memory_bytes' is 1073741825; accepted: an integer from 8192 to 1073741824"));
  EXPECT_THAT(refused_cost({{"memory_bytes", std::int64_t{1} << 60}}), HasSubstr("accepted: an integer from 8192"));
  EXPECT_THAT(refused_cost({{"memory_bytes", UINT64_MAX}}), HasSubstr("accepted: an integer from 8192"));
  EXPECT_THAT(refused_cost({{"memory_bytes", 8191}}), HasSubstr("accepted: an integer from 8192"));
  EXPECT_THAT(refused_cost({{"memory_bytes", -1}}), HasSubstr("accepted: an integer from 8192"));
  EXPECT_THAT(refused_cost({{"memory_bytes", 8192.5}}), HasSubstr("accepted: an integer from 8192"));
  EXPECT_THAT(refused_cost({{"passes", 17}}), HasSubstr("accepted: an integer from 1 to 16"));
  EXPECT_THAT(refused_cost({{"passes", 0}}), HasSubstr("accepted: an integer from 1 to 16"));
  EXPECT_THAT(refused_cost({{"salt", "00"}}), HasSubstr("accepted: 32 hexadecimal digits"));
  EXPECT_THAT(refused_cost({{"salt", std::string(32, 'G')}}), HasSubstr("accepted: 32 hexadecimal digits"));
  EXPECT_THAT(refused_cost({{"more", 1}}), HasSubstr("an unknown field 'more'"));
  // Another cost within the limits, which belongs to the key: the seal does not open.
  EXPECT_THAT(refused_cost({{"passes", 2}}), HasSubstr("the passphrase is another one"));
  EXPECT_EQ(refused_cost(nlohmann::json::object()), "");
}

TEST(Argon2, ParametersThatAreCutShortAreRefused) {
  const auto owner = small_owner();
  const auto passphrase = secret("correct horse");
  const auto bytes = write_owner(owner, OwnerLock::fresh(passphrase, cheap));
  const auto file = parse_container(bytes, FileType::owner, "f");
  for (const char* field : {"passes", "memory_bytes", "salt"}) {
    auto header = file.header;
    header["argon2"].erase(field);
    const auto changed = make_container(container_prefix(FileType::owner, header), file.payload, nullptr);
    EXPECT_THAT(refusal([&] { open_owner(changed, passphrase, "f"); }), HasSubstr(std::string("no field '") + field));
  }
}

TEST(Secret, ComparesAndShortens) {
  auto bytes = secret("12345678");
  EXPECT_TRUE(same_secret(bytes.bytes(), secret("12345678").bytes()));
  EXPECT_FALSE(same_secret(bytes.bytes(), secret("12345679").bytes()));
  EXPECT_FALSE(same_secret(bytes.bytes(), secret("1234567").bytes()));
  bytes.shorten(3);
  EXPECT_TRUE(same_secret(bytes.bytes(), secret("123").bytes()));
  auto moved = std::move(bytes);
  EXPECT_EQ(moved.size(), 3U);
  EXPECT_TRUE(bytes.empty());  // NOLINT: what a moved one promises
}

}  // namespace
}  // namespace spankey::test::user_key_test
