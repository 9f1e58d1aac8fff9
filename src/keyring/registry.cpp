#include "keyring/registry.h"

#include <sodium.h>

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "keyring/container.h"
#include "keyring/sodium_span.h"

namespace spankey {
namespace {

constexpr char registry_context[] = "registry";

SecretBytes registry_key(const Owner& owner) {
  return derived_key(owner.master_secret, 1, registry_context);
}

Digest next_hash(const Digest& previous, std::span<const std::byte> record) {
  crypto_generichash_state state;
  crypto_generichash_init(&state, nullptr, 0, sizeof(Digest));
  crypto_generichash_update(&state, previous.data(), previous.size());
  crypto_generichash_update(&state, raw(record), record.size());
  Digest hash;
  crypto_generichash_final(&state, hash.data(), hash.size());
  return hash;
}

// Writes the parts of a record into secret memory, which is made as large as it will be at most.
class RecordWriter {
 public:
  RecordWriter(const RegistryRecord& record, std::size_t most_more)
      : bytes_(fixed_bytes + record.text.size() + most_more) {
    SPANKEY_CHECK_LE(record.text.size(), most_name_bytes);
    number(static_cast<std::uint8_t>(record.kind));
    number(record.serial);
    number(record.at);
    number(static_cast<std::uint16_t>(record.text.size()));
    put(std::as_bytes(std::span(record.text)));
  }
  template <class T>
  void number(const T& value) {
    put(std::as_bytes(std::span(&value, 1)));
  }
  void put(std::span<const std::byte> part) {
    std::copy(part.begin(), part.end(), bytes_.bytes().subspan(size_, part.size()).begin());
    size_ += part.size();
  }
  std::span<const std::byte> bytes() const { return bytes_.bytes().first(size_); }

 private:
  static constexpr std::size_t fixed_bytes = 1 + 8 + 8 + 2;
  SecretBytes bytes_;
  std::size_t size_ = 0;
};

// Reads records one after the other. A record that ends too early is refused.
class RecordReader {
 public:
  RecordReader(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  bool at_end() const { return place_ == bytes_.size(); }
  std::size_t place() const { return place_; }
  std::span<const std::byte> take(std::size_t size) {
    if (size > bytes_.size() - place_) fail_input("{}: a record is cut short at byte {}", name_, place_);
    place_ += size;
    return bytes_.subspan(place_ - size, size);
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string text() {
    const auto bytes = take(number<std::uint16_t>());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& name_;
  std::size_t place_ = 0;
};

struct ReadRecord {
  RegistryRecord record;
  IssuedKey key;  // of an issued one
  std::size_t alphas_begin = 0, alphas_size = 0;
};

ReadRecord read_record(RecordReader& in, const std::string& name) {
  ReadRecord read;
  auto& record = read.record;
  const auto kind = in.number<std::uint8_t>();
  if (kind < 1 || kind > 3) fail_input("{}: a record of kind {}; accepted: 1, 2 or 3", name, kind);
  record.kind = static_cast<RecordKind>(kind);
  record.serial = in.number<std::uint64_t>();
  record.at = in.number<std::int64_t>();
  record.text = in.text();
  if (record.kind != RecordKind::issued) return read;
  read.key = {.serial = record.serial,
              .name = record.text,
              .issued_at = record.at,
              .not_before = in.number<std::int64_t>(),
              .not_after = in.number<std::int64_t>(),
              .key_digest = {},
              .revoked = false,
              .revoked_at = 0,
              .reason = {}};
  const auto digest = in.take(sizeof(Digest));
  std::memcpy(read.key.key_digest.data(), digest.data(), digest.size());
  read.alphas_size = in.number<std::uint32_t>();
  read.alphas_begin = in.place();
  in.take(read.alphas_size);
  return read;
}

}  // namespace

ChainHead Registry::head() const {
  return {records_.size(), hashes_.empty() ? Digest{} : hashes_.back()};
}

bool Registry::has_passed(const ChainHead& head) const {
  if (head.records > hashes_.size()) return false;
  return head.records == 0 || hashes_[static_cast<std::size_t>(head.records) - 1] == head.hash;
}

const IssuedKey& Registry::key(std::uint64_t serial) const {
  if (serial == 0 || serial > keys_.size())
    fail_input("no key has serial {}; accepted: {}", serial,
               keys_.empty() ? "none, because no key has been issued" : fmt::format("1 to {}", keys_.size()));
  return keys_[static_cast<std::size_t>(serial) - 1];
}

SecretBytes Registry::alphas(std::uint64_t serial) const {
  const auto& place = alphas_.at(static_cast<std::size_t>(key(serial).serial) - 1);
  return SecretBytes::copy_of(content_.bytes().subspan(place.begin, place.size));
}

Registry Registry::copy() const {
  Registry other;
  other.content_ = SecretBytes::copy_of(content_.bytes());
  other.content_size_ = content_size_;
  other.records_ = records_;
  other.hashes_ = hashes_;
  other.keys_ = keys_;
  other.alphas_ = alphas_;
  return other;
}

void Registry::add(std::span<const std::byte> record) {
  const auto needed = content_size_ + record.size();
  if (needed > content_.size()) {
    SecretBytes larger(std::max(needed, 2 * content_.size()));
    std::copy_n(content_.bytes().begin(), content_size_, larger.bytes().begin());
    content_ = std::move(larger);
  }
  std::copy(record.begin(), record.end(), content_.bytes().subspan(content_size_, record.size()).begin());
  content_size_ += record.size();
  hashes_.push_back(next_hash(head().hash, record));
}

void Registry::issue(const IssuedKey& key, const SecretBytes& alphas) {
  SPANKEY_CHECK_EQ(key.serial, next_serial());
  const RegistryRecord record{RecordKind::issued, key.serial, key.issued_at, key.name};
  constexpr std::size_t more = 8 + 8 + sizeof(Digest) + 4;
  RecordWriter writer(record, more + alphas.size());
  writer.number(key.not_before);
  writer.number(key.not_after);
  writer.number(key.key_digest);
  writer.number(static_cast<std::uint32_t>(alphas.size()));
  const auto begin = content_size_ + writer.bytes().size();
  writer.put(alphas.bytes());
  add(writer.bytes());
  records_.push_back(record);
  keys_.push_back(key);
  alphas_.push_back({begin, alphas.size()});
}

void Registry::revoke(std::uint64_t serial, const std::string& reason, std::int64_t now) {
  const auto& found = key(serial);
  if (found.revoked) fail_input("key {} of {} is revoked already: {}", serial, found.name, found.reason);
  const RegistryRecord record{RecordKind::revoked, serial, now, reason};
  add(RecordWriter(record, 0).bytes());
  records_.push_back(record);
  auto& changed = keys_[static_cast<std::size_t>(serial) - 1];
  changed.revoked = true;
  changed.revoked_at = now;
  changed.reason = reason;
}

void Registry::unrevoke(std::uint64_t serial, std::int64_t now) {
  const auto& found = key(serial);
  if (!found.revoked) fail_input("key {} of {} is not revoked", serial, found.name);
  const RegistryRecord record{RecordKind::returned, serial, now, {}};
  add(RecordWriter(record, 0).bytes());
  records_.push_back(record);
  auto& changed = keys_[static_cast<std::size_t>(serial) - 1];
  changed.revoked = false;
  changed.revoked_at = 0;
  changed.reason.clear();
}

RevocationList Registry::revocations(const Owner& owner, std::int64_t now) const {
  RevocationList list{.model_id = owner.model_id,
                      .sequence = std::count_if(records_.begin(), records_.end(),
                                                [](const auto& r) { return r.kind != RecordKind::issued; }),
                      .issued_at = now,
                      .laboratory = owner.laboratory,
                      .keys = {},
                      .owner = owner.public_key};
  for (const auto& key : keys_)
    if (key.revoked) list.keys.push_back({key.serial, key.key_digest});
  return list;
}

std::vector<std::byte> Registry::write(const Owner& owner) const {
  const auto nonce = fresh_nonce();
  const auto prefix = container_prefix(FileType::registry, {{"model_id", owner.model_id},
                                                            {"owner", hex_text(owner.public_key)},
                                                            {"records", records_.size()},
                                                            {"head", to_hex(head().hash)},
                                                            {"nonce", hex_text(nonce)}});
  return make_container(prefix, seal(content_.bytes().first(content_size_), prefix, nonce, registry_key(owner)),
                        nullptr);
}

void Registry::take_record(std::span<const std::byte> content, std::size_t& begin, const Owner& owner,
                           const std::string& name) {
  RecordReader in(content.subspan(begin), name);
  const auto read = read_record(in, name);
  const auto& record = read.record;
  if (record.kind == RecordKind::issued) {
    const auto slots = owner.key.per_layer_key ? owner.sites.size() : 1;
    const auto expected = slots * static_cast<std::size_t>(owner.key.m) * sizeof(float);
    if (record.serial != next_serial() || read.alphas_size != expected)
      fail_input("{}: record {} does not follow from those before it", name, records_.size() + 1);
    issue(read.key, SecretBytes::copy_of(content.subspan(begin + read.alphas_begin, read.alphas_size)));
  } else if (record.kind == RecordKind::revoked) {
    revoke(record.serial, record.text, record.at);
  } else {
    unrevoke(record.serial, record.at);
  }
  begin += in.place();
}

Registry Registry::read(std::span<const std::byte> bytes, const Owner& owner, const std::string& name) {
  const auto file = parse_container(bytes, FileType::registry, name);
  HeaderFields header(file.header, name);
  if (read_hex_digest(header, "model_id") != owner.model_id || header.public_key("owner") != owner.public_key)
    fail_input("{}: the registry is another owner's or of another model", name);
  const auto records = static_cast<std::size_t>(header.integer("records", 0, most_serial));
  const auto head = read_digest(header, "head");
  Nonce nonce;
  header.bytes("nonce", nonce);
  header.require_no_others();
  const auto content = unseal(file.payload, file.prefix, nonce, registry_key(owner));
  if (!content) fail_input("{}: the registry does not belong to this owner's secret, or has been changed", name);
  Registry registry;
  for (std::size_t begin = 0; begin < content->size();) registry.take_record(content->bytes(), begin, owner, name);
  if (registry.records_.size() != records || registry.head().hash != head)
    fail_input("{}: the records are not those that the header tells of", name);
  if (!registry.has_passed(owner.registry) || registry.next_serial() < owner.next_serial)
    fail_input(
        "{}: the registry has been rolled back: it has {} records and serials up to {}, and owner.sks knows of {} "
        "records and serials up to {}; accepted: the newest registry.skr",
        name, records, registry.next_serial() - 1, owner.registry.records, owner.next_serial - 1);
  return registry;
}

}  // namespace spankey
