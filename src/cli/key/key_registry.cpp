// spankey key list, revoke, unrevoke and verify-log: what an owner has issued.
#include <fmt/format.h>

#include <ctime>

#include "base/text.h"
#include "cli/key/key_arguments.h"
#include "keyring/key_facts.h"
#include "keyring/secret_file.h"

namespace spankey::cli {
namespace {

std::string state_of(const IssuedKey& key, std::int64_t now) {
  if (key.revoked) return fmt::format("revoked {}: {}", time_text(key.revoked_at), key.reason);
  if (now >= key.not_after) return "expired";
  return now < key.not_before ? "not yet valid" : "valid";
}

nlohmann::json key_json(const IssuedKey& key, std::int64_t now) {
  nlohmann::json json{{"serial", key.serial},       {"name", key.name},
                      {"issued_at", key.issued_at}, {"not_before", key.not_before},
                      {"not_after", key.not_after}, {"key_digest", to_hex(key.key_digest)},
                      {"revoked", key.revoked},     {"state", state_of(key, now)}};
  if (key.revoked) {
    json["revoked_at"] = key.revoked_at;
    json["reason"] = key.reason;
  }
  return json;
}

// Asks for --yes, and returns whether to go on.
bool shall_act(const KeyArguments& arguments, const nlohmann::json& json, const std::string& what, bool laboratory) {
  if (arguments.dry_run) {
    auto plan = json;
    plan["dry_run"] = true;
    print_key_result(arguments, plan, "would " + what, laboratory);
    return false;
  }
  if (!arguments.yes) fail_input("nothing has been done; accepted: --yes to do it, --dry-run to see what it would do");
  return true;
}

ExitCode change_state(const KeyArguments& arguments, bool revoke) {
  auto folder =
      open_owner_folder(arguments, arguments.dry_run ? OwnerFolder::Access::read : OwnerFolder::Access::write);
  const auto now = current_time();
  const auto serial = static_cast<std::uint64_t>(arguments.serial);
  auto changed = folder.registry().copy();
  if (revoke)
    changed.revoke(serial, arguments.reason, now);
  else
    changed.unrevoke(serial, now);
  const auto& key = changed.key(serial);
  const auto sequence = changed.revocations(folder.owner(), now).sequence;
  const nlohmann::json json{{"key", key_json(key, now)},
                            {"list", folder.paths().revocations().string()},
                            {"sequence", sequence},
                            {"worth", worth_of_a_revocation}};
  const auto what = fmt::format("{} key {} of {}; {} has sequence number {} then\n{}\n",
                                revoke ? "revoke" : "take back the revocation of", serial, key.name,
                                folder.paths().revocations().string(), sequence, worth_of_a_revocation);
  if (!shall_act(arguments, json, what, folder.owner().laboratory)) return ExitCode::done;
  folder.commit(std::move(changed), now);
  const auto text = fmt::format("key {} of {} is {}; {} now has sequence number {}: hand it out\n{}\n", serial,
                                folder.registry().key(serial).name, revoke ? "revoked" : "no longer revoked",
                                folder.paths().revocations().string(), sequence, worth_of_a_revocation);
  print_key_result(arguments, json, text, folder.owner().laboratory);
  return ExitCode::done;
}

}  // namespace

ExitCode key_list(const KeyArguments& arguments) {
  const auto folder = open_owner_folder(arguments, OwnerFolder::Access::read);
  const auto now = current_time();
  MarkdownTable table({{"serial", Align::right},
                       {"name", Align::left},
                       {"issued", Align::left},
                       {"valid until", Align::left},
                       {"state", Align::left}});
  auto json = nlohmann::json::array();
  for (const auto& key : folder.registry().keys()) {
    table.row({std::to_string(key.serial), markdown_escaped(key.name), time_text(key.issued_at),
               time_text(key.not_after), markdown_escaped(state_of(key, now))});
    json.push_back(key_json(key, now));
  }
  const auto& keys = folder.registry().keys();
  auto text = keys.empty() ? "no key has been issued\n" : table.text();
  if (std::any_of(keys.begin(), keys.end(), [](const auto& key) { return key.revoked; }))
    text += fmt::format("{}\n", worth_of_a_revocation);
  print_key_result(arguments, {{"keys", std::move(json)}, {"worth_of_a_revocation", worth_of_a_revocation}}, text,
                   folder.owner().laboratory);
  return ExitCode::done;
}

ExitCode key_revoke(const KeyArguments& arguments) {
  if (arguments.reason.empty() || arguments.reason.size() > most_name_bytes ||
      escaped(arguments.reason) != arguments.reason)
    fail_input("--reason '{}': accepted: 1 to {} bytes of text on one line", escaped(arguments.reason),
               most_name_bytes);
  return change_state(arguments, /*revoke=*/true);
}

ExitCode key_unrevoke(const KeyArguments& arguments) {
  return change_state(arguments, /*revoke=*/false);
}

ExitCode key_verify_log(const KeyArguments& arguments) {
  auto folder =
      open_owner_folder(arguments, arguments.check_only ? OwnerFolder::Access::read : OwnerFolder::Access::write);
  const auto name = folder.paths().audit().string();
  const auto before = folder.audit().check(folder.owner().public_key, name);
  if (folder.audit().records() != folder.registry().records().size())
    fail_input(
        "{}: {} of {} records of the registry have no line: the last command was killed, and the next one that "
        "writes adds them",
        name, folder.registry().records().size() - folder.audit().records(), folder.registry().records().size());
  if (!arguments.check_only) folder.sign_audit(current_time());
  const auto after = folder.audit().check(folder.owner().public_key, name);
  print_key_result(
      arguments, {{"lines", after.lines}, {"signed_lines", after.signed_lines}, {"signed_before", before.signed_lines}},
      fmt::format("{}: {} in order, as owner.sks knows them; {} of them signed before, {} now\n", name,
                  counted(static_cast<std::int64_t>(after.lines), "line"), before.signed_lines, after.signed_lines),
      folder.owner().laboratory);
  return ExitCode::done;
}

}  // namespace spankey::cli
