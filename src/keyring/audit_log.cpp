#include "keyring/audit_log.h"

#include <fmt/format.h>
#include <sodium.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/secret.h"
#include "base/text.h"
#include "keyring/header_fields.h"
#include "keyring/key_facts.h"

namespace spankey {
namespace {

Digest line_hash(std::string_view line) {
  start_cryptography();
  Digest hash;
  crypto_generichash(hash.data(), hash.size(), reinterpret_cast<const unsigned char*>(line.data()), line.size(),
                     nullptr, 0);
  return hash;
}

// What the owner signs: the hash of the last line, which covers all before it.
std::string signed_text(std::string_view previous) {
  return fmt::format("spankey audit.log {}", previous);
}

}  // namespace

ChainHead AuditLog::head() const {
  return {hashes_.size(), hashes_.empty() ? Digest{} : hashes_.back()};
}

bool AuditLog::has_passed(const ChainHead& head) const {
  if (head.records > hashes_.size()) return false;
  return head.records == 0 || hashes_[static_cast<std::size_t>(head.records) - 1] == head.hash;
}

AuditLog AuditLog::read(std::string text, const std::string& name) {
  AuditLog log;
  if (!text.empty() && text.back() != '\n') fail_input("{}: the last line is cut short", name);
  for (std::size_t begin = 0; begin < text.size();) {
    const auto end = text.find('\n', begin);
    log.take(std::string_view(text).substr(begin, end - begin), name);
    begin = end + 1;
  }
  log.text_ = std::move(text);
  return log;
}

void AuditLog::take(std::string_view line, const std::string& name) {
  const auto place = fmt::format("{}:{}", name, hashes_.size() + 1);
  if (!is_utf8(line)) fail_input("{}: not UTF-8", place);
  const auto object = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) fail_input("{}: not a JSON object", place);
  // Anything but the one way to write an object would be a change that its meaning does not show.
  if (object.dump() != line) fail_input("{}: the line has been changed", place);
  HeaderFields fields(object, place);
  fields.integer("n", static_cast<std::int64_t>(hashes_.size()) + 1, static_cast<std::int64_t>(hashes_.size()) + 1);
  read_time(fields, "at");
  if (read_hex_digest(fields, "previous") != to_hex(head().hash))
    fail_input("{}: the line does not follow from the one before it", place);
  const auto event = fields.text("event", 64);
  if (fields.has("record"))
    records_ = static_cast<std::uint64_t>(
        fields.integer("record", static_cast<std::int64_t>(records_) + 1, static_cast<std::int64_t>(records_) + 1));
  if (event == signed_event) {
    SignedLine signature{.line = hashes_.size() + 1, .previous = to_hex(head().hash), .signature = {}, .signer = {}};
    fields.bytes("signature", signature.signature);
    signature.signer = fields.public_key("owner");
    signed_.push_back(signature);
  }
  hashes_.push_back(line_hash(line));
}

void AuditLog::add(std::string_view event, nlohmann::json details, std::int64_t now) {
  SPANKEY_CHECK(details.is_object());
  details["n"] = hashes_.size() + 1;
  details["at"] = now;
  details["event"] = event;
  details["previous"] = to_hex(head().hash);
  const auto line = details.dump();
  take(line, "audit.log");
  text_ += line + '\n';
}

void AuditLog::sign(const SigningKey& owner, std::int64_t now) {
  const auto text = signed_text(to_hex(head().hash));
  const auto signature = owner.sign(std::as_bytes(std::span(text)));
  add(signed_event, {{"signature", hex_text(signature)}, {"owner", hex_text(owner.public_key())}}, now);
}

AuditCheck AuditLog::check(const PublicKey& owner, const std::string& name) const {
  for (const auto& signature : signed_) {
    const auto text = signed_text(signature.previous);
    if (signature.signer != owner) fail_input("{}:{}: the line is signed by another owner", name, signature.line);
    if (!verify_signature(std::as_bytes(std::span(text)), signature.signature, signature.signer))
      fail_input("{}:{}: the signature does not fit", name, signature.line);
  }
  return {.lines = hashes_.size(), .signed_lines = signed_.empty() ? 0 : signed_.back().line};
}

}  // namespace spankey
