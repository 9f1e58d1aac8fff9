// spankey key export and import: a copy of an owner's folder, or its public part.
#include <fmt/format.h>

#include "base/error.h"
#include "base/file.h"
#include "cli/key/key_arguments.h"
#include "keyring/secret_file.h"

namespace spankey::cli {
namespace {

constexpr std::size_t most_copied_bytes = std::size_t{4} << 30;

std::vector<std::filesystem::path> public_files(const OwnerPaths& paths) {
  return {paths.model(), paths.revocations()};
}

std::vector<std::filesystem::path> all_files(const OwnerPaths& paths) {
  auto files = public_files(paths);
  for (auto file : {paths.challenge(), paths.registry(), paths.audit(), paths.owner()}) files.push_back(file);
  return files;
}

bool is_public(const OwnerPaths& paths, const std::filesystem::path& file) {
  return file == paths.model() || file == paths.revocations();
}

// owner.sks comes last, so that a folder without it is an unfinished one.
void copy_files(const OwnerPaths& from, const std::vector<std::filesystem::path>& files,
                const std::filesystem::path& to) {
  for (const auto& file : files) {
    const auto content = read_sealed_file(file, most_copied_bytes);
    const auto target = to / file.filename();
    if (is_public(from, file))
      write_durably(target, content);
    else
      write_secret_durably(target, content);
  }
}

void copy_folder(const OwnerPaths& from, const std::vector<std::filesystem::path>& files, const std::string& out,
                 bool secret) {
  const auto unfinished = begin_owner_folder(out);
  copy_files(from, files, unfinished.root);
  if (!secret) std::filesystem::permissions(unfinished.root, std::filesystem::perms(0755));
  finish_owner_folder(unfinished, out);
}

}  // namespace

ExitCode key_export(const KeyArguments& arguments) {
  const auto paths = arguments.paths();
  if (arguments.public_part) {
    const auto owner = read_owner_header_of(paths);
    copy_folder(paths, public_files(paths), arguments.out, /*secret=*/false);
    print_key_result(arguments, {{"out", arguments.out}, {"public", true}},
                     fmt::format("{}: model.skm and revoked.skl, for anybody\n", arguments.out), owner.laboratory);
    return ExitCode::done;
  }
  // With the lease, so that all files belong together.
  auto folder = open_owner_folder(arguments, OwnerFolder::Access::write);
  const auto records = folder.registry().records().size();
  folder.note("export", {{"records", records}}, current_time());
  copy_folder(paths, all_files(paths), arguments.out, /*secret=*/true);
  print_key_result(arguments, {{"out", arguments.out}, {"public", false}, {"records", records}},
                   fmt::format("{}: a copy of the whole folder with {} records of the registry; it opens with the same "
                               "passphrase\n",
                               arguments.out, records),
                   folder.owner().laboratory);
  return ExitCode::done;
}

ExitCode key_import(const KeyArguments& arguments) {
  const auto paths = arguments.paths();
  const auto now = current_time();
  // Proves the copy before anything is written.
  const OwnerFolder source(paths, read_passphrase(arguments.passphrase, paths.owner().string()),
                           OwnerFolder::Access::read, now);
  const auto serials = source.registry().next_serial() - 1;
  const nlohmann::json json{{"out", arguments.out}, {"last_serial", serials}};
  const auto text = fmt::format(
      "{}: the owner's folder as it was exported, with serials up to {}\nkeys issued after the export are unknown to "
      "it: their serials would be given a second time, and they can neither be revoked nor traced\n",
      arguments.out, serials);
  if (arguments.dry_run) {
    print_key_result(arguments, json, "would write " + text, source.owner().laboratory);
    return ExitCode::done;
  }
  if (!arguments.yes)
    fail_input("{}: serials after {} would be forgotten; accepted: --yes to import, --dry-run to look",
               arguments.target, serials);
  copy_folder(paths, all_files(paths), arguments.out, /*secret=*/true);
  print_key_result(arguments, json, text, source.owner().laboratory);
  return ExitCode::done;
}

}  // namespace spankey::cli
