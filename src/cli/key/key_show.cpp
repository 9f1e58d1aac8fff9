// spankey key show, verify and pair: what a key file says, and whether it holds.
#include <fmt/format.h>

#include <ctime>

#include "base/file.h"
#include "base/mapped_file.h"
#include "base/text.h"
#include "cli/key/key_arguments.h"
#include "keyring/container.h"
#include "keyring/key_facts.h"
#include "keyring/model_file.h"
#include "keyring/secret_file.h"

namespace spankey::cli {
namespace {

constexpr std::size_t most_file_bytes = (std::size_t{1} << 30) + 2 * most_header_bytes;
constexpr std::size_t most_list_shown = 20;

std::string sites_text(const std::vector<KeySite>& sites) {
  std::string text;
  for (const auto& site : sites)
    text += fmt::format("{}{} numbers at injection point {}", text.empty() ? "" : ", ", site.width, site.point);
  return text;
}

std::string seal_text(KeySeal seal) {
  switch (seal) {
    case KeySeal::none:
      return "not sealed: whoever has the file has the key";
    case KeySeal::recipient:
      return "sealed to a person";
    case KeySeal::passphrase:
      return "sealed with a passphrase";
  }
  fail_run("a seal of an unknown kind");
}

// What a file says of itself, in both forms.
struct Shown {
  nlohmann::json json;
  std::string text;
  bool laboratory = false;
};

Shown show_user_key(const UserKeyFile& file) {
  const auto& key = file.key;
  return {{{"type", "user_key"},
           {"serial", key.serial},
           {"name", key.name},
           {"model_id", key.model_id},
           {"owner", hex_text(file.owner)},
           {"issued_at", key.issued_at},
           {"not_before", key.not_before},
           {"not_after", key.not_after},
           {"key_digest", to_hex(key.key_digest)},
           {"sealed", file.seal != KeySeal::none},
           {"laboratory", key.laboratory}},
          fmt::format("key {} of {} to model {}\nsigned by owner {}\nissued {}, valid from {} until {}\n{}; {}\n",
                      key.serial, key.name, key.model_id.substr(0, 12), hex_text(file.owner).substr(0, 12),
                      time_text(key.issued_at), time_text(key.not_before), time_text(key.not_after),
                      sites_text(key.sites), seal_text(file.seal)),
          key.laboratory};
}

Shown show_revocations(const RevocationList& list) {
  auto serials = nlohmann::json::array();
  std::string text =
      fmt::format("list {} of revoked keys to model {}, of {}\nsigned by owner {}\n", list.sequence,
                  list.model_id.substr(0, 12), time_text(list.issued_at), hex_text(list.owner).substr(0, 12));
  for (const auto& key : list.keys) {
    if (serials.size() < most_list_shown)
      text += fmt::format("key {} ({})\n", key.serial, to_hex(key.key_digest).substr(0, 12));
    serials.push_back(key.serial);
  }
  text += fmt::format("{}\n{}\n", counted(std::ssize(list.keys), "key"), worth_of_a_revocation);
  return {{{"type", "revocations"},
           {"model_id", list.model_id},
           {"owner", hex_text(list.owner)},
           {"sequence", list.sequence},
           {"issued_at", list.issued_at},
           {"serials", std::move(serials)},
           {"laboratory", list.laboratory},
           {"worth", worth_of_a_revocation}},
          text,
          list.laboratory};
}

Shown show_owner(const Owner& owner) {
  return {{{"type", "owner"},
           {"model_id", owner.model_id},
           {"public_key", hex_text(owner.public_key)},
           {"created_at", owner.created_at},
           {"phi", owner.phi},
           {"correct_accuracy", owner.correct_accuracy},
           {"laboratory", owner.laboratory}},
          fmt::format("owner {} of model {}, since {}\nkeys have {}; fingerprints take {} of their energy\n"
                      "read without the passphrase, which alone can prove it\n",
                      hex_text(owner.public_key).substr(0, 12), owner.model_id.substr(0, 12),
                      time_text(owner.created_at), sites_text(owner.sites), owner.phi),
          owner.laboratory};
}

Shown show_model(const OpenedModel& model) {
  return {
      {{"type", "model"},
       {"model_id", model.model_id},
       {"owner", hex_text(model.owner)},
       {"network", model.description.network},
       {"laboratory", model.laboratory}},
      fmt::format("model {}, network {}\nsigned by owner {}\nkeys have {}\n", model.model_id.substr(0, 12),
                  model.description.network, hex_text(model.owner).substr(0, 12), sites_text(model.description.sites)),
      model.laboratory};
}

Shown show_recipient(const RecipientPair& pair, const char* type) {
  return {{{"type", type}, {"name", pair.name}, {"public_key", hex_text(pair.public_key)}},
          fmt::format("{}: public key {}\n", pair.name, hex_text(pair.public_key)),
          false};
}

Shown show_file(std::span<const std::byte> bytes, const std::string& name) {
  const auto type = container_type(bytes);
  if (!type) fail_input("{}: not a key file of spankey", name);
  switch (*type) {
    case FileType::user_key:
      return show_user_key(read_user_key(bytes, name));
    case FileType::revocations:
      return show_revocations(read_revocations(bytes, name));
    case FileType::owner:
      return show_owner(read_owner_header(bytes, name));
    case FileType::recipient_public:
      return show_recipient(read_recipient_public(bytes, name), "recipient_public");
    case FileType::model:
    case FileType::recipient_secret:
    case FileType::registry:
      break;
  }
  fail_input("{}: {} shows nothing without its passphrase; accepted: other key files, or key list OWNER_DIR", name,
             kind_of(*type).name);
}

// OWNER_DIR stands for its owner.sks.
std::filesystem::path file_of(const KeyArguments& arguments) {
  const std::filesystem::path path = arguments.target;
  return std::filesystem::is_directory(path) ? OwnerPaths{path}.owner() : path;
}

}  // namespace

ExitCode key_show(const KeyArguments& arguments) {
  const auto path = file_of(arguments);
  const auto type = container_type(MappedFile(path).bytes());
  // A model is large and no secret.
  const auto shown = type == FileType::model
                         ? show_model(open_model(read_model_bytes(path), path.string()))
                         : show_file(read_secret_file(path, most_file_bytes).bytes(), path.string());
  print_key_result(arguments, shown.json, shown.text, shown.laboratory);
  return ExitCode::done;
}

ExitCode key_verify(const KeyArguments& arguments) {
  const auto file = read_user_key_file(arguments.target);
  const auto model = open_model(read_model_bytes(arguments.model), arguments.model);
  KeyUse use{.model_id = model.model_id, .owner = model.owner, .now = current_time(), .revoked = nullptr};
  RevocationList list;
  if (!arguments.revoked.empty()) {
    list = read_revocations_file(arguments.revoked);
    use.revoked = &list;
  }
  require_usable(file.key, file.owner, use, arguments.target);
  auto shown = show_user_key(file);
  shown.json["usable"] = true;
  shown.json["worth_of_a_revocation"] = worth_of_a_revocation;
  shown.text += arguments.revoked.empty() ? "usable; no list of revoked keys was looked at (--revoked revoked.skl)\n"
                                          : fmt::format("usable, and not on list {} of {}\n{}\n", list.sequence,
                                                        time_text(list.issued_at), worth_of_a_revocation);
  print_key_result(arguments, shown.json, shown.text, shown.laboratory);
  return ExitCode::done;
}

ExitCode key_pair(const KeyArguments& arguments) {
  const auto& name = arguments.target;
  if (name.empty() || name.size() > most_name_bytes || escaped(name) != name)
    fail_input("'{}' is no name; accepted: 1 to {} bytes of text on one line", escaped(name), most_name_bytes);
  const std::filesystem::path public_file = arguments.out + ".pub", secret_file = arguments.out + ".sec";
  for (const auto& path : {public_file, secret_file})
    if (std::filesystem::exists(std::filesystem::symlink_status(path)))
      fail_input("{} exists already; accepted: --out with another name", path.string());
  const auto passphrase = read_new_passphrase(arguments.passphrase, secret_file.string());
  const auto pair = fresh_recipient(name);
  write_secret_durably(secret_file, write_recipient_secret(pair, passphrase, arguments.cost()));
  write_durably(public_file, write_recipient_public(pair));
  print_key_result(
      arguments,
      {{"public", public_file.string()}, {"secret", secret_file.string()}, {"public_key", hex_text(pair.public_key)}},
      fmt::format("{}: send it to the owner of a model\n{}: keep it to yourself; it opens the keys that "
                  "are sealed to {}\n",
                  public_file.string(), secret_file.string(), name),
      false);
  return ExitCode::done;
}

}  // namespace spankey::cli
