// The one form of all key files. Numbers are little-endian:
//   magic "SPKYFILE", type u32, version u32, header length u32, header (JSON object, UTF-8, at most 64 KiB),
//   payload length u64, payload, CRC32C u32 of everything before,
//   and for the types that are signed: signature (64 bytes) of everything before it, public key of the signer (32).
// The checksum finds damage. The signature, or the seal of the payload (keyring/sealing.h), finds forgery.
#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "keyring/signing.h"

namespace spankey {

// The numbers are part of the format and are never reused.
enum class FileType : std::uint32_t {
  model = 1,             // model.skm
  owner = 2,             // owner.sks
  user_key = 3,          // user.skk
  registry = 4,          // registry.skr
  revocations = 5,       // revoked.skl
  recipient_public = 6,  // NAME.pub
  recipient_secret = 7,  // NAME.sec
};

struct FileKind {
  FileType type;
  std::string_view name;  // for a person, such as "a user's key"
  std::uint32_t version;  // that this program writes and reads
  std::optional<SignatureKind> signature;
};
const FileKind& kind_of(FileType type);

inline constexpr std::size_t most_header_bytes = std::size_t{64} << 10;

// What a file holds. The spans lie in the bytes that were parsed.
struct Container {
  FileType type{};
  nlohmann::json header;              // an object
  std::span<const std::byte> prefix;  // everything before the length of the payload: additional data of a seal
  std::span<const std::byte> payload;
  std::optional<PublicKey> signer;  // of a signed type; its signature has been verified
};

// Returns the type that `bytes` claim to be, nullopt where they are not of this form. Nothing else of them is checked.
std::optional<FileType> container_type(std::span<const std::byte> bytes);

// Error(bad_input) "NAME: ..." in one line unless `bytes` are a whole container of that type and of this version,
// without anything behind it, and with a valid signature where the type is signed. Lengths are compared with the size
// of `bytes` before anything is allocated. Whether `signer` is the one expected is for the caller to check.
Container parse_container(std::span<const std::byte> bytes, FileType expected, const std::string& name);

// Returns everything before the length of the payload. `header` must be an object.
std::vector<std::byte> container_prefix(FileType type, const nlohmann::json& header);

// The bytes of a file. `signer` is needed by the types that are signed, and must be null for the others.
std::vector<std::byte> make_container(std::span<const std::byte> prefix, std::span<const std::byte> payload,
                                      const SigningKey* signer);

}  // namespace spankey
