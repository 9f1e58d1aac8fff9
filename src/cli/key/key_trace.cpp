// spankey key trace: whose issued key is in a key that has been found.
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>

#include "base/text.h"
#include "cli/key/key_arguments.h"
#include "keyring/container.h"
#include "keyring/model_file.h"
#include "keyring/safetensors.h"
#include "keyring/trace.h"
#include "keyring/user_key.h"
#include "keyring/valid_key.h"

namespace spankey::cli {
namespace {

// A key as it was found, and what its file says of itself.
struct Evidence {
  std::vector<at::Tensor> vectors;   // each of the width of one or more sites
  bool by_site = false;              // vector i is that of site i
  std::optional<UserKeyFile> label;  // of a user's key file, without its vectors
};

Evidence evidence_of_key_file(const std::string& path) {
  auto file = read_user_key_file(path);
  if (file.seal != KeySeal::none)
    fail_input(
        "{}: the key is sealed, its header says serial {}; accepted: an open key file, or its vectors as safetensors",
        path, file.key.serial);
  Evidence evidence{.vectors = {}, .by_site = true, .label = std::nullopt};
  for (std::size_t site = 0; site < file.key.sites.size(); ++site) {
    const auto values = file.key.vector_at(site);
    at::Tensor vector = secret_matrix(1, static_cast<std::int64_t>(values.size()));
    std::copy(values.begin(), values.end(), vector.mutable_data_ptr<float>());
    evidence.vectors.push_back(vector[0]);
  }
  file.key.vectors = {};
  evidence.label = std::move(file);
  return evidence;
}

Evidence evidence_of(const std::string& path) {
  const auto bytes = read_model_bytes(path);
  if (container_type(bytes)) return evidence_of_key_file(path);
  Evidence evidence;
  for (const auto& tensor : decode_safetensors(bytes, path).tensors) evidence.vectors.push_back(tensor.value);
  if (evidence.vectors.empty()) fail_input("{}: holds no tensors; accepted: one for each site of a key", path);
  return evidence;
}

// Each vector is tried at every site of its width.
std::vector<FoundKey> found_keys(const Evidence& evidence, const Owner& owner, const std::string& path) {
  std::vector<FoundKey> found;
  for (std::size_t i = 0; i < evidence.vectors.size(); ++i) {
    const auto& vector = evidence.vectors[i];
    const auto before = found.size();
    for (std::size_t site = 0; site < owner.sites.size(); ++site)
      if (vector.numel() == owner.sites[site].width && (!evidence.by_site || site == i))
        found.push_back({site, vector});
    if (found.size() > before) continue;
    std::vector<std::string> widths;
    for (const auto& site : owner.sites) widths.push_back(fmt::format("{}", site.width));
    fail_input("{}: a vector of {} elements fits no site of this model; accepted: {}", path, vector.numel(),
               fmt::join(widths, ", "));
  }
  return found;
}

// The folder of the model that the key is said to open: the present one, or one that a rotation has retired.
std::filesystem::path folder_of_model(const std::filesystem::path& root, const std::string& model_id) {
  if (model_id.empty() || read_owner_header_of({root}).model_id == model_id) return root;
  const auto retired = root / "retired" / model_id.substr(0, 16);
  if (std::filesystem::exists(retired) && read_owner_header_of({retired}).model_id == model_id) return retired;
  fail_input("{} has issued no keys to the model {:.16}; accepted: the folder of its owner", root.string(), model_id);
}

std::vector<KeyHolder> holders(const OwnerFolder& folder) {
  std::vector<KeyHolder> result;
  for (const auto& key : folder.registry().keys())
    result.push_back({.serial = key.serial,
                      .name = key.name,
                      .alphas = alpha_tensors(folder.owner(), folder.registry().alphas(key.serial)),
                      .seed = derive_fingerprint_seed(folder.owner().master_secret, key.serial)});
  return result;
}

constexpr std::array verdict_names = {"exact", "named", "forged", "too_many"};

std::string verdict_text(const TraceReport& report) {
  const auto named =
      std::count_if(report.users.begin(), report.users.end(), [](const auto& user) { return user.named(); });
  switch (report.verdict) {
    case TraceVerdict::exact:
      return fmt::format("exact: the key of serial {}, up to its strength and rounding", report.users[0].serial);
    case TraceVerdict::named:
      return fmt::format("named: {} {} in it", counted(named, "issued key"), named == 1 ? "is" : "are");
    case TraceVerdict::forged:
      return fmt::format(
          "forged: nobody is named, and {:.0f} % of its energy is outside the span of the basis. It was found without "
          "an issued key, or hides them beyond the limits below",
          100 * (1 - report.span_energy));
    case TraceVerdict::too_many:
      break;
  }
  return report.bare_span ? "nobody is named, and it has no fingerprint at all: whoever made it holds the basis "
                            "(owner.sks, or secret/ of the run)"
                          : "nobody is named, though most of its energy is in the span of the basis: issued keys of "
                            "more users than can be named are in it";
}

std::vector<std::string> limits_text(const TraceLimits& limits, double epsilon) {
  return {
      fmt::format("A name says whose key is in it, not who passed it on. Any innocent user is named with a "
                  "probability of at most {:g}.",
                  epsilon),
      fmt::format("The mean of up to about {} keys is traced to all of them, noise of as much energy as the key "
                  "halves the scores of one.",
                  limits.mean_keys),
      fmt::format("A mosaic, with each coordinate from another key, is traced up to about {} keys. With one percent "
                  "of noise on each coordinate it is traced up to about {}, and with more noise not at all: such a "
                  "key opens the model, and its verdict is \"forged\" or \"more users than can be named\".",
                  limits.mosaic_keys, limits.noisy_mosaic),
      "A key found by gradients on the weights needs no issued key and carries no fingerprint."};
}

const SiteScore& best_site(const UserTrace& user) {
  return *std::max_element(user.sites.begin(), user.sites.end(), [](const SiteScore& a, const SiteScore& b) {
    return std::pair(a.named(), a.z) < std::pair(b.named(), b.z);
  });
}

nlohmann::json score_json(const Owner& owner, const SiteScore& score) {
  return {{"point", owner.sites[score.site].point},
          {"z", score.z},
          {"match", score.match},
          {"match_threshold", score.match_threshold},
          {"cosine", score.cosine},
          {"alpha_cosine", score.alpha_cosine},
          {"by_z", score.by_z},
          {"by_match", score.by_match},
          {"exact", score.exact}};
}

nlohmann::json label_json(const UserKeyFile& label, const Owner& owner) {
  return {{"serial", label.key.serial},
          {"name", label.key.name},
          {"model_id", label.key.model_id},
          {"signed_by_owner", label.owner == owner.public_key}};
}

nlohmann::json report_json(const TraceReport& report, const Owner& owner, const Evidence& evidence,
                           const std::vector<std::string>& limits) {
  auto sites = nlohmann::json::array(), users = nlohmann::json::array();
  for (const auto& site : report.sites)
    sites.push_back(
        {{"point", owner.sites[site.site].point}, {"width", site.width}, {"span_energy", site.span_energy}});
  for (const auto& user : report.users) {
    auto scores = nlohmann::json::array();
    for (const auto& score : user.sites) scores.push_back(score_json(owner, score));
    users.push_back({{"serial", user.serial}, {"name", user.name}, {"named", user.named()}, {"sites", scores}});
  }
  nlohmann::json result{{"verdict", verdict_names[static_cast<std::size_t>(report.verdict)]},
                        {"model_id", owner.model_id},
                        {"false_accusation", report.epsilon},
                        {"z_threshold", report.z_threshold},
                        {"span_energy", report.span_energy},
                        {"without_fingerprint", report.bare_span},
                        {"sites", sites},
                        {"users", users},
                        {"limits", limits}};
  if (evidence.label) result["label"] = label_json(*evidence.label, owner);
  return result;
}

std::string report_text(const TraceReport& report, const Owner& owner, const KeyArguments& arguments,
                        const Evidence& evidence, const std::vector<std::string>& limits) {
  auto text = fmt::format("{}: {}\n", arguments.file, verdict_text(report));
  if (evidence.label)
    text += fmt::format("its file says serial {} ({}), signed by {}\n", evidence.label->key.serial,
                        escaped(evidence.label->key.name),
                        evidence.label->owner == owner.public_key ? "this owner" : "somebody else");
  for (const auto& site : report.sites)
    text += fmt::format("injection point {}: {:.3f} of the energy of {} elements in the span\n",
                        owner.sites[site.site].point, site.span_energy, site.width);
  MarkdownTable table({{"serial", Align::right},
                       {"name", Align::left},
                       {"z", Align::right},
                       {"repeated coordinates", Align::right},
                       {"cosine", Align::right},
                       {"in it", Align::left}});
  std::int64_t shown = 0;
  for (const auto& user : report.users) {
    if (!user.named() && shown >= arguments.rows) break;
    const auto& best = best_site(user);
    table.row({fmt::format("{}", user.serial), markdown_escaped(user.name), fmt::format("{:.1f}", best.z),
               fmt::format("{:.3f} of {:.3f}", best.match, best.match_threshold), fmt::format("{:.3f}", best.cosine),
               user.named() ? "yes" : "no"});
    ++shown;
  }
  text += fmt::format("\nthreshold of z: {:.2f}; {} of {} shown\n\n{}\n", report.z_threshold, shown,
                      counted(std::ssize(report.users), "issued key"), table.text());
  for (const auto& limit : limits) text += limit + "\n";
  return text;
}

}  // namespace

ExitCode key_trace(const KeyArguments& arguments) {
  const auto evidence = evidence_of(arguments.file);
  std::string model_id = evidence.label ? evidence.label->key.model_id : "";
  if (!arguments.model.empty()) model_id = open_model(read_model_bytes(arguments.model), arguments.model).model_id;
  const auto root = folder_of_model(arguments.target, model_id);
  const OwnerFolder folder({root}, read_passphrase(arguments.passphrase, "the owner of " + root.string()),
                           OwnerFolder::Access::read, current_time());
  const auto& owner = folder.owner();
  if (owner.phi == 0) fail_input("{}: its keys have no fingerprints (phi is 0) and cannot be traced", root.string());
  const auto users = holders(folder);
  const auto found = found_keys(evidence, owner, arguments.file);
  const auto report = trace(issuer_of(owner), users, found, arguments.false_accusation);
  std::int64_t widest = 0;
  for (const auto& site : report.sites) widest = std::max(widest, site.width);
  const auto tests = static_cast<std::int64_t>(std::max<std::size_t>(users.size(), 1) * found.size());
  const auto limits = limits_text(trace_limits(owner.key.m, widest, owner.phi, tests, arguments.false_accusation),
                                  arguments.false_accusation);
  print_key_result(arguments, report_json(report, owner, evidence, limits),
                   report_text(report, owner, arguments, evidence, limits), owner.laboratory);
  return ExitCode::done;
}

}  // namespace spankey::cli
