// The readers of key files. The first byte of the input says what is read, and whether the rest is a whole file, or a
// header (up to a zero byte) and a content that are given a checksum, a signature or a seal that fit, so that what lies
// behind those is reached.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "fuzz/fuzzer.h"
#include "keyring/audit_log.h"
#include "keyring/container.h"
#include "keyring/registry.h"
#include "keyring/user_key.h"

namespace {

using namespace spankey;
using Bytes = std::vector<std::byte>;

constexpr const char* name = "input";

const Owner& fuzz_owner() {
  static const Owner owner = [] {
    Owner made;
    made.model_id = std::string(64, 'a');
    made.key.m = 2;
    made.key.layers = {0};
    made.sites = {{0, 4}};
    made.basis.push_back(SecretBytes(2 * 4 * sizeof(float)));
    made.master_secret = SecretBytes(32);
    made.signing_seed = SecretBytes(32);
    made.public_key = made.signing_key().public_key();
    return made;
  }();
  return owner;
}

template <class T>
void append(Bytes& out, const T& value) {
  const auto bytes = std::as_bytes(std::span(&value, 1));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

// The header is taken as it is, which container_prefix() would not do.
Bytes prefix_with(FileType type, std::span<const std::byte> header) {
  Bytes prefix = container_prefix(type, nlohmann::json::object());
  prefix.resize(prefix.size() - sizeof(std::uint32_t) - 2);  // its length and "{}"
  append(prefix, static_cast<std::uint32_t>(header.size()));
  prefix.insert(prefix.end(), header.begin(), header.end());
  return prefix;
}

Bytes whole_file(FileType type, std::span<const std::byte> input) {
  std::size_t header_size = 0;
  while (header_size < input.size() && input[header_size] != std::byte{0}) ++header_size;
  const auto content = input.subspan(std::min(header_size + 1, input.size()));
  const auto signer = fuzz_owner().signing_key();
  return make_container(prefix_with(type, input.first(header_size)), content,
                        kind_of(type).signature ? &signer : nullptr);
}

// Records under a seal that fits.
Bytes sealed_registry(std::span<const std::byte> records) {
  const auto& owner = fuzz_owner();
  const Nonce nonce{};
  std::uint64_t count = 0;
  if (records.size() >= sizeof count) std::memcpy(&count, records.data(), sizeof count);
  const auto prefix = container_prefix(FileType::registry, {{"model_id", owner.model_id},
                                                            {"owner", hex_text(owner.public_key)},
                                                            {"records", count % 16},
                                                            {"head", std::string(64, '0')},
                                                            {"nonce", hex_text(nonce)}});
  const auto content = records.subspan(std::min(sizeof count, records.size()));
  return make_container(prefix, seal(content, prefix, nonce, derived_key(owner.master_secret, 1, "registry")), nullptr);
}

void read_as(FileType type, std::span<const std::byte> bytes) {
  switch (type) {
    case FileType::user_key:
      read_user_key(bytes, name);
      break;
    case FileType::revocations:
      read_revocations(bytes, name);
      break;
    case FileType::owner:
      read_owner_header(bytes, name);
      break;
    case FileType::registry:
      Registry::read(bytes, fuzz_owner(), name);
      break;
    case FileType::recipient_public:
      read_recipient_public(bytes, name);
      break;
    // Its passphrase may cost a gigabyte, which is within the limits.
    case FileType::recipient_secret:
    case FileType::model:
      parse_container(bytes, type, name);
      break;
  }
}

// An input that whole_file() makes `file` of.
void put_seed(const std::filesystem::path& folder, std::span<const std::byte> file) {
  const auto type = *container_type(file);
  const auto container = parse_container(file, type, name);
  const auto header = container.header.dump();
  std::vector<std::uint8_t> input{static_cast<std::uint8_t>(static_cast<std::uint32_t>(type) - 1 + 7)};
  for (const char c : header) input.push_back(static_cast<std::uint8_t>(c));
  input.push_back(0);
  for (const std::byte byte : container.payload) input.push_back(std::to_integer<std::uint8_t>(byte));
  test::put(folder / std::string(kind_of(type).name), input);
}

void put_seeds(const std::filesystem::path& folder) {
  const auto& owner = fuzz_owner();
  UserKey key{.serial = 1,
              .name = "Ann",
              .model_id = owner.model_id,
              .issued_at = 1,
              .not_before = 1,
              .not_after = 2,
              .key_digest = {},
              .laboratory = false,
              .sites = owner.sites,
              .vectors = SecretBytes(4 * sizeof(float))};
  key.key_digest = vectors_digest(key.sites, key.vectors.bytes());
  const auto signer = owner.signing_key();
  const auto passphrase = SecretBytes::copy_of(std::as_bytes(std::span("passphrase")));
  put_seed(folder, write_user_key(key, signer));
  put_seed(folder, write_owner(owner, OwnerLock::fresh(passphrase, {.passes = 1, .memory_bytes = 8192})));
  put_seed(folder, write_revocations({.model_id = owner.model_id,
                                      .sequence = 1,
                                      .issued_at = 1,
                                      .laboratory = false,
                                      .keys = {{1, key.key_digest}},
                                      .owner = owner.public_key},
                                     signer));
  put_seed(folder, write_recipient_public(fresh_recipient("Ann")));
  AuditLog log;
  log.add("init", {{"record", 1}}, 1);
  log.sign(signer, 2);
  std::vector<std::uint8_t> input{3 * 7};
  for (const char c : log.text()) input.push_back(static_cast<std::uint8_t>(c));
  test::put(folder / "log", input);
}

}  // namespace

// With --seeds FOLDER it writes inputs to begin with and ends.
extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  if (*argc == 3 && std::string_view((*argv)[1]) == "--seeds") {
    put_seeds((*argv)[2]);
    std::exit(0);
  }
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto rest = std::as_bytes(std::span(data + 1, size - 1));
  const auto type = static_cast<FileType>(1 + data[0] % 7);
  const int way = data[0] / 7 % 4;
  try {
    if (way == 0) read_as(type, rest);
    if (way == 1) read_as(type, whole_file(type, rest));
    if (way == 2) read_as(FileType::registry, sealed_registry(rest));
    if (way == 3)
      AuditLog::read({reinterpret_cast<const char*>(rest.data()), rest.size()}, name)
          .check(fuzz_owner().public_key, name);
  } catch (const Error& error) {
    if (std::string(error.what()).find('\n') != std::string::npos) std::abort();
  }
  return 0;
}
