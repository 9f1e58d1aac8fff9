// The file audit.log, which tells who did what with an owner's folder. Each line is a JSON object with the BLAKE2b hash
// of the line before it. `key verify-log` adds a line that signs all before it. The file holds no secrets.
#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "keyring/owner_file.h"
#include "keyring/signing.h"

namespace spankey {

inline constexpr std::string_view signed_event = "signed";

struct AuditCheck {
  std::size_t lines = 0;
  std::size_t signed_lines = 0;  // lines that the last signature covers, its own among them
};

class AuditLog {
 public:
  AuditLog() = default;
  // Error(bad_input) "NAME:LINE: ..." where a line is no such object, or does not follow from the one before.
  static AuditLog read(std::string text, const std::string& name);

  // Adds a line. `details` is an object without secrets, to which "n", "at", "event" and "previous" are added.
  void add(std::string_view event, nlohmann::json details, std::int64_t now);
  void sign(const SigningKey& owner, std::int64_t now);
  // Error(bad_input) "NAME:LINE: ..." where a signature is not this owner's, or not of the lines before it.
  AuditCheck check(const PublicKey& owner, const std::string& name) const;

  // Returns how far the file has come, counted in lines.
  ChainHead head() const;
  // True where the file is, or once was, in that state.
  bool has_passed(const ChainHead& head) const;
  // The number of records of the registry that have their line.
  std::uint64_t records() const { return records_; }
  const std::string& text() const { return text_; }

 private:
  struct SignedLine {
    std::size_t line = 0;
    std::string previous;  // hash of the line before, hexadecimal
    Signature signature{};
    PublicKey signer{};
  };
  void take(std::string_view line, const std::string& name);

  std::string text_;
  std::vector<Digest> hashes_;  // of each line
  std::uint64_t records_ = 0;
  std::vector<SignedLine> signed_;
};

}  // namespace spankey
