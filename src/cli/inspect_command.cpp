#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <memory>
#include <span>
#include <string>

#include "base/digest.h"
#include "base/file.h"
#include "base/hdf5_file.h"
#include "base/sealed_file.h"
#include "cli/command.h"
#include "config/config.h"
#include "record/attack_record.h"
#include "record/result.h"
#include "record/run_directory.h"
#include "record/run_progress.h"
#include "train/checkpoint.h"

namespace spankey::cli {
namespace {

nlohmann::json attribute(const h5::File& file, const std::string& name) {
  try {
    return file.string_attribute("/", name);
  } catch (const Error&) {
  }
  try {
    const auto values = file.ints_attribute("/", name);
    return values.size() == 1 ? nlohmann::json(values[0]) : nlohmann::json(values);
  } catch (const Error&) {
  }
  const auto values = file.doubles_attribute("/", name);
  return values.size() == 1 ? nlohmann::json(values[0]) : nlohmann::json(values);
}

// Files of earlier versions hold a text as bytes.
std::string text_in(const h5::File& file, const std::string& dataset) {
  try {
    return file.read_string(dataset);
  } catch (const Error&) {
    const auto bytes = file.read<std::uint8_t>(dataset);
    return {bytes.begin(), bytes.end()};
  }
}

// One text, or a list of them.
void describe_text(const h5::File& file, const std::string& dataset, nlohmann::json& entry) {
  entry["dtype"] = "string";
  try {
    const auto text = file.read_string(dataset);
    entry["shape"] = nlohmann::json::array();
    entry["sha256"] = to_hex(sha256(text));
  } catch (const Error&) {
    entry["shape"] = {file.read_strings(dataset).size()};
  }
}

// A forged file may hold a group that contains itself.
constexpr int deepest_group = 8;

void list_tensors(const h5::File& file, const std::string& place, const std::string& group, int depth,
                  nlohmann::json& tensors) {
  if (depth > deepest_group)
    fail_input("{}: group '{}': expected at most {} groups in one another", place, group, deepest_group);
  const auto prefix = group == "/" ? "" : group + "/";
  for (const auto& name : file.datasets(group)) {
    nlohmann::json entry{{"name", prefix + name}};
    try {
      const auto info = file.info(prefix + name);
      std::vector<std::byte> bytes(static_cast<std::size_t>(info.elements()) * h5::size_bytes(info.type));
      file.read_raw(prefix + name, bytes);
      entry["shape"] = info.shape;
      entry["dtype"] = h5::to_string(info.type);
      entry["sha256"] = to_hex(sha256(bytes));
    } catch (const Error&) {
      describe_text(file, prefix + name, entry);
    }
    tensors.push_back(std::move(entry));
  }
  for (const auto& name : file.groups(group)) list_tensors(file, place, prefix + name, depth + 1, tensors);
}

nlohmann::json describe_file(const std::filesystem::path& path) {
  const auto file = h5::File::open(path);
  nlohmann::json description{{"path", path.string()}};
  for (const auto& name : file.attribute_names("/")) description[name] = attribute(file, name);
  if (description.contains("format")) {  // data sets call themselves that, and images or features their kind
    description["content"] = description["kind"];
    description["kind"] = description["format"];
    description.erase("format");
  }
  if (!description.contains("kind") || !description["kind"].is_string())
    fail_input("{}: not a file of spankey (no attribute 'kind')", path.string());
  const auto kind = description["kind"].get<std::string>();
  if (kind == "spankey checkpoint" || kind == "spankey basis") checked_image(read_bytes(path), path.string());
  if (file.exists("config")) description["config"] = text_in(file, "config");
  description["tensors"] = nlohmann::json::array();
  list_tensors(file, path.string(), "/", 0, description["tensors"]);
  return description;
}

// A run without a checkpoint: one that has not come to the first, or whose checkpoints were removed.
nlohmann::json without_checkpoint(const RunDirectory& directory) {
  if (!std::filesystem::exists(directory.config()))
    fail_input("{}: neither a configuration nor a valid checkpoint in it; accepted: a file or run directory of spankey",
               directory.root.string());
  return {{"checkpoint", "none that is valid"},
          {"config", read_text(directory.config())},
          {"tensors", nlohmann::json::array()}};
}

nlohmann::json describe_run(const RunDirectory& directory) {
  const auto newest = newest_valid_checkpoint(directory.checkpoints());
  auto description = newest ? describe_file(newest->path) : without_checkpoint(directory);
  description["run"] = directory.root.string();
  const auto config = std::filesystem::exists(directory.config()) ? load_config(directory.config()) : Config{};
  if (std::filesystem::exists(directory.result())) {
    auto& result = description["result"] = read_result(directory.result(), config);
    count_attacks(result, directory);
  } else if (auto evaluation = last_evaluation(directory.metrics(), config); !evaluation.is_null()) {
    description["last_evaluation"] = std::move(evaluation);
  }
  if (const auto error = last_error(directory); !error.empty() && !description.contains("result"))
    description["failed"] = error;
  return description;
}

// The figures of a run, as far as it has come. Empty for a file.
std::string figures_text(const nlohmann::json& description) {
  if (description.contains("result")) return access_table(description["result"]) + "\n";
  if (!description.contains("run")) return {};
  const auto error = description.find("failed");
  const auto state = error == description.end() ? "unfinished" : "failed: " + error->get<std::string>();
  if (const auto open = description.find("last_evaluation"); open != description.end())
    return fmt::format("{}; after epoch {}, step {}:\n{}\n", state, open->at("epoch").get<std::int64_t>() + 1,
                       open->at("global_step").get<std::int64_t>(), access_table(*open));
  return state + ", not evaluated so far\n\n";
}

void print_text(const nlohmann::json& description) {
  fmt::print("{}", figures_text(description));
  for (const auto& [key, value] : description.items())
    if (key != "tensors" && key != "config" && key != "result" && key != "last_evaluation" && key != "failed")
      fmt::print("{:<16} {}\n", key, value.is_string() ? value.get<std::string>() : value.dump());
  if (description.contains("config")) fmt::print("\n{}", description["config"].get<std::string>());
  fmt::print("\n");
  for (const auto& tensor : description["tensors"])
    fmt::print("{:<36} {:<8} {:<18} {}\n", tensor["name"].get<std::string>(), tensor["dtype"].get<std::string>(),
               tensor["shape"].dump(), tensor.value("sha256", "-"));
}

}  // namespace

void add_inspect(CLI::App& app, Action& action) {
  struct Arguments {
    std::string path;
    bool json = false;
  };
  auto* command = add_command(app, "inspect");
  const auto arguments = std::make_shared<Arguments>();
  command->add_option("PATH", arguments->path, "a file or run directory of spankey")->required();
  command->add_flag("--json", arguments->json, "print JSON");
  end_help(*command, "inspect runs/demo");
  command->callback([arguments, &action] {
    action = [arguments] {
      const std::filesystem::path path = arguments->path;
      if (!std::filesystem::exists(path)) fail_input("{}: no such file or run directory", path.string());
      const auto description =
          std::filesystem::is_directory(path) ? describe_run(RunDirectory{path}) : describe_file(path);
      if (arguments->json)
        fmt::print("{}\n", description.dump(2, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace));
      else
        print_text(description);
      return ExitCode::done;
    };
  });
}

}  // namespace spankey::cli
