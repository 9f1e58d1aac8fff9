// spankey key: the options of its commands.
#include <fmt/format.h>

#include <array>
#include <ctime>
#include <memory>

#include "base/log.h"
#include "cli/command.h"
#include "cli/key/key_arguments.h"
#include "cli/number_option.h"

namespace spankey::cli {
namespace {

using KeyStep = ExitCode (*)(const KeyArguments&);

struct KeyStepEntry {
  const char* name;
  const char* help;
  const char* target;
  const char* target_help;
  KeyStep step;
  const char* example;
};

constexpr const char* owner_help = "folder that key init has made";

constexpr std::array key_steps{
    KeyStepEntry{"init", "Make an owner of a trained run: its secret, its model as a file, an empty registry", "RUN",
                 "run directory, with secret/", key_init, "key init runs/mine --out owner"},
    KeyStepEntry{"issue", "Issue a key, after it has been tried on test samples", "OWNER_DIR", owner_help, key_issue,
                 "key issue owner --name Alice --days 365 --out alice.skk"},
    KeyStepEntry{"list", "List the issued keys and their states", "OWNER_DIR", owner_help, key_list, "key list owner"},
    KeyStepEntry{"show", "Show what a key file says of itself", "FILE",
                 "user.skk, model.skm, revoked.skl, owner.sks, NAME.pub or an owner's folder", key_show,
                 "key show alice.skk"},
    KeyStepEntry{"verify", "Check a user's key against model, dates and list of revoked keys", "FILE", "user.skk",
                 key_verify, "key verify alice.skk --model owner/model.skm --revoked owner/revoked.skl"},
    KeyStepEntry{"revoke", "Put a key on the list of revoked keys", "OWNER_DIR", owner_help, key_revoke,
                 "key revoke owner 1 --reason lost --yes"},
    KeyStepEntry{"unrevoke", "Take a key off the list of revoked keys", "OWNER_DIR", owner_help, key_unrevoke,
                 "key unrevoke owner 1 --yes"},
    KeyStepEntry{"rotate", "Train the model on to a new basis, so that the keys issued so far open nothing",
                 "OWNER_DIR", owner_help, key_rotate, "key rotate owner runs/mine train.epochs=5 --yes"},
    KeyStepEntry{"trace", "Tell whose issued key is in a key that has been found", "OWNER_DIR", owner_help, key_trace,
                 "key trace owner leaked.skk"},
    KeyStepEntry{"export", "Copy an owner's folder, or the part of it that anybody may have", "OWNER_DIR", owner_help,
                 key_export, "key export owner --out backup"},
    KeyStepEntry{"import", "Make an owner's folder of a copy that key export has written", "FOLDER",
                 "copy of a whole owner's folder", key_import, "key import backup --out owner --yes"},
    KeyStepEntry{"verify-log", "Check audit.log and sign it", "OWNER_DIR", owner_help, key_verify_log,
                 "key verify-log owner"},
    KeyStepEntry{"pair", "Make a person's key pair, to which keys can be sealed", "NAME", "of the person", key_pair,
                 "key pair Alice --out alice"},
};

void add_passphrase(CLI::App& command, PassphraseSource& source, const std::string& of) {
  command.add_option(source.file_flag, source.file, "file with the passphrase of " + of + "; default: ask")
      ->default_str("");
  command.add_option(source.descriptor_flag, source.descriptor, "open descriptor to read it from")
      ->transform(integer_between(0, 1 << 20))
      ->default_str("");
}

void add_argon2(CLI::App& command, KeyArguments& arguments) {
  command
      .add_option("--argon2-passes", arguments.argon2_passes,
                  "passes over the memory that a passphrase costs; fewer are weaker")
      ->transform(integer_between(1, most_argon2_passes));
  command
      .add_option("--argon2-memory", arguments.argon2_mebibytes,
                  "MiB of memory that a passphrase costs; less is weaker")
      ->transform(integer_between(1, most_argon2_memory_bytes >> 20));
}

void add_out(CLI::App& command, KeyArguments& arguments, const char* help) {
  command.add_option("--out", arguments.out, help)->required();
}

void add_init(CLI::App& command, KeyArguments& arguments) {
  command.add_option("OVERRIDES", arguments.overrides, "key=value, for example data.file=mnist.h5");
  add_out(command, arguments, "new folder of the owner, mode 0700");
  command
      .add_option("--phi", arguments.phi, "share of a key's energy that tells its holder; up to 0.19 costs no accuracy")
      ->transform(number_between(0, most_phi));
  command.add_flag("--laboratory", arguments.laboratory,
                   "allow a basis that follows a seed; every file made from it says so");
  add_passphrase(command, arguments.passphrase, "the new owner");
  add_argon2(command, arguments);
}

void add_issue(CLI::App& command, KeyArguments& arguments) {
  command.add_option("--name", arguments.name, "holder of the key")->default_str("");
  command.add_option("--names", arguments.names, "file with one name a line: a key for each")->default_str("");
  command.add_option("--days", arguments.days, "for how long the key is valid")
      ->required()
      ->transform(integer_between(1, 36'500))
      ->default_str("");
  command.add_option("--from", arguments.from, "day from which it is valid, as 2026-12-31 (UTC); default: now")
      ->default_str("");
  command.add_option("--to", arguments.to, "NAME.pub of the person to whom the key is sealed (key pair)")
      ->default_str("");
  command.add_flag("--seal", arguments.seals, "seal the key with a passphrase");
  add_passphrase(command, arguments.seal, "the new key (--seal)");
  add_out(command, arguments, "user.skk, a new file of mode 0600; with --names a folder");
  add_passphrase(command, arguments.passphrase, "the owner");
  add_argon2(command, arguments);
}

void add_change(CLI::App& command, KeyArguments& arguments, bool revoke) {
  command.add_option("SERIAL", arguments.serial, "serial of the key (key list)")
      ->required()
      ->transform(integer_between(1, std::int64_t{1} << 53))
      ->default_str("");
  if (revoke) command.add_option("--reason", arguments.reason, "kept in the registry and in audit.log")->required();
  command.add_flag("--yes", arguments.yes, "do it");
  command.add_flag("--dry-run", arguments.dry_run, "say what it would do");
  add_passphrase(command, arguments.passphrase, "the owner");
}

void add_rotate(CLI::App& command, KeyArguments& arguments) {
  command.add_option("RUN", arguments.run, "run that the model was made of: its configuration is trained again");
  command.add_option("OVERRIDES", arguments.overrides, "key=value, for example train.epochs=5");
  command.add_flag("--as-shipped", arguments.as_shipped,
                   "publish a model that rejects the old keys, although its class logits still answer with them");
  command.add_flag("--discard", arguments.discard, "remove a rotation that has begun, and end");
  command.add_flag("--yes", arguments.yes, "do it; the same command goes on with a rotation that was killed");
  command.add_flag("--dry-run", arguments.dry_run, "say what it would do");
  add_argon2(command, arguments);
}

void add_trace(CLI::App& command, KeyArguments& arguments) {
  command.add_option("FILE", arguments.file, "the key: user.skk, or its vectors as safetensors")->required();
  command
      .add_option("--claimed", arguments.model,
                  "model.skm that it is said to open; default: as the file says, else the owner's present one")
      ->default_str("");
  command
      .add_option("--false-accusation", arguments.false_accusation, "largest probability of naming anybody innocent")
      ->transform(number_between(1e-12, 0.5));
  command.add_option("--rows", arguments.rows, "users to show beside those who are named")
      ->transform(integer_between(0, 1'000'000));
}

void add_key_options(CLI::App& command, const std::string& name, KeyArguments& arguments) {
  if (name == "init") return add_init(command, arguments);
  if (name == "issue") return add_issue(command, arguments);
  if (name == "revoke" || name == "unrevoke") return add_change(command, arguments, name == "revoke");
  if (name == "verify") {
    command.add_option("--model", arguments.model, "model.skm that the key shall open")->required();
    command.add_option("--revoked", arguments.revoked, "revoked.skl of the owner")->default_str("");
  }
  if (name == "export") {
    add_out(command, arguments, "new folder");
    command.add_flag("--public", arguments.public_part, "model.skm and revoked.skl alone; needs no passphrase");
  }
  if (name == "import") {
    add_out(command, arguments, "new folder of the owner");
    command.add_flag("--yes", arguments.yes, "do it");
    command.add_flag("--dry-run", arguments.dry_run, "check the copy and say what it would do");
  }
  if (name == "rotate") add_rotate(command, arguments);
  if (name == "trace") add_trace(command, arguments);
  if (name == "verify-log") command.add_flag("--check-only", arguments.check_only, "sign nothing");
  if (name == "pair") {
    add_out(command, arguments, "writes OUT.pub and OUT.sec");
    add_argon2(command, arguments);
  }
  if (name != "show" && name != "verify")
    add_passphrase(command, arguments.passphrase, name == "pair" ? "the secret key" : "the owner");
}

}  // namespace

std::int64_t current_time() {
  return static_cast<std::int64_t>(std::time(nullptr));
}

OwnerFolder open_owner_folder(const KeyArguments& arguments, OwnerFolder::Access access) {
  const auto paths = arguments.paths();
  read_owner_header_of(paths);  // before anybody is asked for a passphrase
  return {paths, read_passphrase(arguments.passphrase, paths.owner().string()), access, current_time()};
}

void print_key_result(const KeyArguments& arguments, nlohmann::json json, const std::string& text, bool laboratory) {
  if (arguments.json) {
    json["laboratory"] = laboratory;
    fmt::print("{}\n", json.dump(2));
    return;
  }
  fmt::print("{}", text);
  if (laboratory) fmt::print("laboratory: the basis follows a seed, and whoever knows the seed can make keys\n");
}

void add_key(CLI::App& app, Action& action) {
  auto* key = add_command(app, "key");
  key->require_subcommand(1);
  const auto arguments = std::make_shared<KeyArguments>();
  for (const auto& entry : key_steps) {
    auto* command = key->add_subcommand(entry.name, entry.help);
    command->add_option(entry.target, arguments->target, entry.target_help)->required();
    add_key_options(*command, entry.name, *arguments);
    command->add_flag("--json", arguments->json, "print JSON");
    end_help(*command, entry.example, "docs/keys.md says who holds what, and what is promised.");
    command->callback(
        [arguments, step = entry.step, &action] { action = [arguments, step] { return step(*arguments); }; });
  }
  end_help(*key, "key issue owner --name Alice --days 365 --out alice.skk");
}

}  // namespace spankey::cli
