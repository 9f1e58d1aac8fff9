// The arguments of the `spankey key` commands, and the commands. Each command prints its result and returns the exit
// code.
#pragma once

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/key/passphrase.h"
#include "keyring/owner_folder.h"

namespace spankey::cli {

struct KeyArguments {
  std::string target;  // RUN, OWNER_DIR, FOLDER or FILE
  std::vector<std::string> overrides;
  PassphraseSource passphrase;
  PassphraseSource seal{
      .file = {}, .descriptor = -1, .file_flag = "--seal-passphrase-file", .descriptor_flag = "--seal-passphrase-fd"};
  std::string out;
  double phi = 0.1;
  std::int64_t argon2_passes = moderate_cost.passes;
  std::int64_t argon2_mebibytes = moderate_cost.memory_bytes >> 20;
  std::string name, names, to, from;
  std::int64_t days = 0;
  std::int64_t serial = 0;
  std::string reason;
  std::string model, revoked;
  std::string run, file;           // rotate: RUN; trace: FILE
  double false_accusation = 1e-3;  // trace
  std::int64_t rows = 10;          // trace
  bool laboratory = false, seals = false, public_part = false, check_only = false, discard = false, as_shipped = false;
  bool json = false, yes = false, dry_run = false;

  Argon2Cost cost() const { return {argon2_passes, argon2_mebibytes << 20}; }
  OwnerPaths paths() const { return {target}; }
};

ExitCode key_init(const KeyArguments& arguments);
ExitCode key_issue(const KeyArguments& arguments);
ExitCode key_list(const KeyArguments& arguments);
ExitCode key_show(const KeyArguments& arguments);
ExitCode key_verify(const KeyArguments& arguments);
ExitCode key_revoke(const KeyArguments& arguments);
ExitCode key_unrevoke(const KeyArguments& arguments);
ExitCode key_rotate(const KeyArguments& arguments);
ExitCode key_trace(const KeyArguments& arguments);
ExitCode key_export(const KeyArguments& arguments);
ExitCode key_import(const KeyArguments& arguments);
ExitCode key_verify_log(const KeyArguments& arguments);
ExitCode key_pair(const KeyArguments& arguments);

// Seconds since 1970 by the clock of this machine.
std::int64_t current_time();

// Opens the folder that is named as OWNER_DIR, with the passphrase.
OwnerFolder open_owner_folder(const KeyArguments& arguments, OwnerFolder::Access access);

// Prints `json` under --json, `text` otherwise. A line of `text` says so where the owner is a laboratory's.
void print_key_result(const KeyArguments& arguments, nlohmann::json json, const std::string& text, bool laboratory);

}  // namespace spankey::cli
