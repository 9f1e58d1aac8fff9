#include "keyring/container.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/digest.h"
#include "base/error.h"
#include "base/text.h"

namespace spankey {
namespace {

static_assert(std::endian::native == std::endian::little, "key files are little-endian");

constexpr std::string_view container_magic = "SPKYFILE";
constexpr std::size_t checksum_bytes = 4;
constexpr std::size_t signature_bytes = sizeof(Signature) + sizeof(PublicKey);

constexpr FileKind file_kinds[] = {
    {FileType::model, "a model", 1, SignatureKind::prehashed},
    {FileType::owner, "an owner's secret", 1, std::nullopt},
    {FileType::user_key, "a user's key", 1, SignatureKind::plain},
    {FileType::registry, "a registry of keys", 1, std::nullopt},
    {FileType::revocations, "a list of revoked keys", 1, SignatureKind::plain},
    {FileType::recipient_public, "a recipient's public key", 1, std::nullopt},
    {FileType::recipient_secret, "a recipient's secret key", 1, std::nullopt},
};

// Takes the parts of a file from its front, and refuses one that is longer than what is left.
class Cutter {
 public:
  Cutter(std::span<const std::byte> bytes, const std::string& name) : all_(bytes), rest_(bytes), name_(name) {}

  std::span<const std::byte> take(std::uint64_t size, const char* what) {
    if (size > rest_.size())
      fail_input("{}: {} of {} bytes, but {} bytes are left: the file is cut short or damaged", name_, what, size,
                 rest_.size());
    const auto part = rest_.first(static_cast<std::size_t>(size));
    rest_ = rest_.subspan(part.size());
    return part;
  }
  template <class T>
  T number(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof value, what).data(), sizeof value);
    return value;
  }
  std::span<const std::byte> taken() const { return all_.first(all_.size() - rest_.size()); }
  std::size_t left() const { return rest_.size(); }

 private:
  std::span<const std::byte> all_, rest_;
  const std::string& name_;
};

template <class T>
void append(std::vector<std::byte>& out, const T& value) {
  const auto begin = out.size();
  out.resize(begin + sizeof value);
  std::memcpy(out.data() + begin, &value, sizeof value);
}

std::string_view type_name(std::uint32_t type) {
  for (const auto& kind : file_kinds)
    if (static_cast<std::uint32_t>(kind.type) == type) return kind.name;
  return "of an unknown type";
}

void check_beginning(Cutter& cut, const FileKind& kind, const std::string& name) {
  const auto magic = cut.take(container_magic.size(), "a magic number");
  if (std::memcmp(magic.data(), container_magic.data(), container_magic.size()) != 0)
    fail_input("{}: not a key file of spankey; accepted: {}", name, kind.name);
  if (const auto type = cut.number<std::uint32_t>("a type"); type != static_cast<std::uint32_t>(kind.type))
    fail_input("{}: {} ({}); accepted: {}", name, type_name(type), type, kind.name);
  if (const auto version = cut.number<std::uint32_t>("a version"); version != kind.version)
    fail_input("{}: version {} of {}; accepted: version {}", name, version, kind.name, kind.version);
}

nlohmann::json parse_json_header(std::span<const std::byte> bytes, const std::string& name) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!is_utf8(text)) fail_input("{}: the header is not UTF-8", name);
  auto header = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) fail_input("{}: the header is not a JSON object", name);
  return header;
}

PublicKey verified_signer(Cutter& cut, SignatureKind kind, const std::string& name) {
  const auto signed_part = cut.taken();
  Signature signature;
  PublicKey signer;
  std::memcpy(signature.data(), cut.take(signature.size(), "a signature").data(), signature.size());
  std::memcpy(signer.data(), cut.take(signer.size(), "a public key").data(), signer.size());
  if (!verify_signature(signed_part, signature, signer, kind))
    fail_input("{}: the signature does not fit: the file has been changed", name);
  return signer;
}

}  // namespace

const FileKind& kind_of(FileType type) {
  const auto found = std::find_if(std::begin(file_kinds), std::end(file_kinds),
                                  [&](const FileKind& kind) { return kind.type == type; });
  SPANKEY_CHECK(found != std::end(file_kinds));
  return *found;
}

std::optional<FileType> container_type(std::span<const std::byte> bytes) {
  std::uint32_t type = 0;
  if (bytes.size() < container_magic.size() + sizeof type ||
      std::memcmp(bytes.data(), container_magic.data(), container_magic.size()) != 0)
    return std::nullopt;
  std::memcpy(&type, bytes.data() + container_magic.size(), sizeof type);
  for (const auto& kind : file_kinds)
    if (static_cast<std::uint32_t>(kind.type) == type) return kind.type;
  return std::nullopt;
}

Container parse_container(std::span<const std::byte> bytes, FileType expected, const std::string& name) {
  const FileKind& kind = kind_of(expected);
  Cutter cut(bytes, name);
  check_beginning(cut, kind, name);
  const auto header_length = cut.number<std::uint32_t>("the length of a header");
  if (header_length > most_header_bytes)
    fail_input("{}: a header of {} bytes; accepted: up to {}", name, header_length, most_header_bytes);
  const auto header = cut.take(header_length, "a header");
  Container container;
  container.type = expected;
  container.prefix = cut.taken();
  container.payload = cut.take(cut.number<std::uint64_t>("the length of the content"), "content");
  const auto expected_checksum = crc32c(cut.taken());
  if (const auto found = cut.number<std::uint32_t>("a checksum"); found != expected_checksum)
    fail_input("{}: checksum {:08x}, expected {:08x}: the file is damaged", name, found, expected_checksum);
  if (kind.signature) container.signer = verified_signer(cut, *kind.signature, name);
  if (cut.left() != 0) fail_input("{}: {} bytes too many: the file is damaged", name, cut.left());
  container.header = parse_json_header(header, name);
  return container;
}

std::vector<std::byte> container_prefix(FileType type, const nlohmann::json& header) {
  SPANKEY_CHECK(header.is_object());
  const auto text = header.dump();
  SPANKEY_CHECK_LE(text.size(), most_header_bytes);
  const auto magic = std::as_bytes(std::span(container_magic));
  std::vector<std::byte> prefix(magic.begin(), magic.end());
  append(prefix, static_cast<std::uint32_t>(type));
  append(prefix, kind_of(type).version);
  append(prefix, static_cast<std::uint32_t>(text.size()));
  const auto bytes = std::as_bytes(std::span(text));
  prefix.insert(prefix.end(), bytes.begin(), bytes.end());
  return prefix;
}

std::vector<std::byte> make_container(std::span<const std::byte> prefix, std::span<const std::byte> payload,
                                      const SigningKey* signer) {
  const auto type = container_type(prefix);
  SPANKEY_CHECK(type.has_value());
  const auto& kind = kind_of(*type);
  SPANKEY_CHECK_EQ(kind.signature.has_value(), signer != nullptr);
  std::vector<std::byte> file;
  // Growing would leave copies of what may be secret behind.
  file.reserve(prefix.size() + sizeof(std::uint64_t) + payload.size() + checksum_bytes + signature_bytes);
  file.assign(prefix.begin(), prefix.end());
  append(file, static_cast<std::uint64_t>(payload.size()));
  file.insert(file.end(), payload.begin(), payload.end());
  append(file, crc32c(file));
  if (signer != nullptr) {
    append(file, signer->sign(file, *kind.signature));
    append(file, signer->public_key());
  }
  return file;
}

}  // namespace spankey
