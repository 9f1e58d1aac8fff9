#include "keyring/revocations.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "keyring/container.h"
#include "keyring/key_facts.h"

namespace spankey {
namespace {

constexpr std::size_t entry_bytes = sizeof(std::uint64_t) + sizeof(Digest);

}  // namespace

bool RevocationList::names(std::uint64_t serial, const Digest& key_digest) const {
  return std::any_of(keys.begin(), keys.end(),
                     [&](const RevokedKey& key) { return key.serial == serial || key.key_digest == key_digest; });
}

std::vector<std::byte> write_revocations(const RevocationList& list, const SigningKey& owner) {
  SPANKEY_CHECK_LE(list.keys.size(), most_revoked_keys);
  const nlohmann::json header{{"model_id", list.model_id},
                              {"sequence", list.sequence},
                              {"issued_at", list.issued_at},
                              {"laboratory", list.laboratory},
                              {"keys", list.keys.size()}};
  std::vector<std::byte> entries(list.keys.size() * entry_bytes);
  for (std::size_t i = 0; i < list.keys.size(); ++i) {
    std::memcpy(entries.data() + i * entry_bytes, &list.keys[i].serial, sizeof(std::uint64_t));
    std::memcpy(entries.data() + i * entry_bytes + sizeof(std::uint64_t), list.keys[i].key_digest.data(),
                sizeof(Digest));
  }
  return make_container(container_prefix(FileType::revocations, header), entries, &owner);
}

RevocationList read_revocations(std::span<const std::byte> bytes, const std::string& name) {
  const auto file = parse_container(bytes, FileType::revocations, name);
  HeaderFields header(file.header, name);
  RevocationList list;
  list.model_id = read_hex_digest(header, "model_id");
  list.sequence = header.integer("sequence", 0, most_serial);
  list.issued_at = read_time(header, "issued_at");
  list.laboratory = header.flag("laboratory");
  const auto count = static_cast<std::size_t>(header.integer("keys", 0, static_cast<std::int64_t>(most_revoked_keys)));
  header.require_no_others();
  if (file.payload.size() != count * entry_bytes)
    fail_input("{}: {} bytes of content; accepted: {} for {} keys", name, file.payload.size(), count * entry_bytes,
               count);
  list.keys.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    std::memcpy(&list.keys[i].serial, file.payload.data() + i * entry_bytes, sizeof(std::uint64_t));
    std::memcpy(list.keys[i].key_digest.data(), file.payload.data() + i * entry_bytes + sizeof(std::uint64_t),
                sizeof(Digest));
    if (i > 0 && list.keys[i].serial <= list.keys[i - 1].serial)
      fail_input("{}: key {} of the list does not follow the one before; accepted: ascending serials", name, i + 1);
  }
  list.owner = *file.signer;
  return list;
}

}  // namespace spankey
