#include "record/attack_record.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "record/result.h"
#include "record/verdict.h"

namespace spankey {
namespace {

constexpr auto attack_figure_table = std::to_array<AttackFigure>({
    {"strip", "strip", "O1", 0},
    {"readout_10", "readout, 10 images", "O2a O2b O2c", 10},
    {"free_key_1", "free key, 1", "K5", 1},
    {"free_key_10", "free key, 10", "K5", 10},
    {"free_key_100", "free key, 100", "K5", 100},
    {"biases_10", "biases, 10", "W2", 10},
    {"biases_60", "biases, 60", "W2", 60},
    {"fine_tune_60", "fine-tuning, 60", "W1 W1ls", 60},
    {"scratch_10", "from scratch, 10", "S0", 10},
    {"scratch_60", "from scratch, 60", "S0", 60},
});

bool is_one_of(std::string_view id, std::string_view ids) {
  std::istringstream words{std::string(ids)};
  for (std::string word; words >> word;)
    if (word == id) return true;
  return false;
}

double share_at(const nlohmann::json& row, const char* which) {
  const double share = row.at("access").at(which).get<double>();
  if (!(share >= 0 && share <= 1)) fail_input("access.{} = {} is no share", which, share);
  return share;
}

// The rows with an outcome that `chosen` takes, which is asked for the id of each.
template <class Chosen>
std::vector<const nlohmann::json*> rows_of(const nlohmann::json& attacks, Chosen chosen) {
  std::vector<const nlohmann::json*> rows;
  for (const auto& row : attacks.at("rows"))
    if (!row.at("access").is_null() && chosen(row.at("id").get_ref<const std::string&>())) rows.push_back(&row);
  return rows;
}

std::int64_t images_of(const nlohmann::json& row) {
  return row.at("budget").at("images").get<std::int64_t>();
}

nlohmann::json named_access(const nlohmann::json& worst) {
  if (worst.is_null()) return nullptr;
  nlohmann::json named{{"access", worst.at("access").get<double>()}};
  for (const char* name : {"id", "name", "budget_text"}) named[name] = worst.at(name).get<std::string>();
  return named;
}

struct DrawnAttack {
  const char *id, *title;
};

using NumberOf = std::function<double(const nlohmann::json& row)>;

// One curve an attack, over what `number` tells of a row. Of several forms the best one counts.
std::vector<AttackCurve> curves_of(const nlohmann::json& attacks, std::span<const DrawnAttack> drawn,
                                   const NumberOf& number) {
  std::vector<AttackCurve> curves;
  for (const auto& attack : drawn) {
    std::map<double, std::vector<double>> best;
    for (const auto* row : rows_of(attacks, [&](const std::string& id) { return id == attack.id; })) {
      const double at = number(*row), mean = share_at(*row, "mean");
      if (at > 0 && (!best.contains(at) || best[at][1] < mean))
        best[at] = {at, mean, share_at(*row, "min"), share_at(*row, "max")};
    }
    if (best.empty()) continue;
    auto& curve = curves.emplace_back(AttackCurve{attack.title, {}});
    for (auto& [at, point] : best) curve.points.push_back(std::move(point));
  }
  return curves;
}

NumberOf spent(const char* what) {
  return [what](const nlohmann::json& row) { return row.at("cost").value(what, 0.0); };
}

// Reads whatever a report reads, so that a damaged file is found here and not in the middle of a page.
void require_whole(const nlohmann::json& attacks) {
  attack_summary(attacks);
  curves_by_images(attacks);
  curves_by_queries(attacks);
  curves_by_leaked_keys(attacks);
  curves_of_tracing(attacks);
}

}  // namespace

std::span<const AttackFigure> attack_figures() {
  return attack_figure_table;
}

nlohmann::json attack_summary(const nlohmann::json& attacks) {
  nlohmann::json summary = nlohmann::json::object();
  for (const auto& figure : attack_figure_table)
    for (const auto* row : rows_of(attacks, [&](const std::string& id) { return is_one_of(id, figure.ids); })) {
      if (images_of(*row) != figure.images) continue;
      auto& most = summary[std::string(figure.name)];
      most = std::max(most.is_null() ? 0.0 : most.get<double>(), share_at(*row, "mean"));
    }
  for (const char* name : {"worst_case", "worst_case_as_shipped"}) summary[name] = named_access(attacks.at(name));
  summary["withheld"] = attacks.at("withheld");
  const auto& price = attacks.at("price_of_entry").at("labels");
  summary["price"] = price.is_null() ? nlohmann::json() : nlohmann::json(price.at("labels").get<double>());
  double most_labels = 0.0;
  for (const auto* row : rows_of(attacks, [](const std::string& id) { return id != "S0"; }))
    if (!row->at("needs_valid_key").get<bool>())
      most_labels = std::max(most_labels, row->at("cost").value("labels", 0.0));
  summary["most_labels"] = most_labels;
  const auto correct = number_at(attacks, "reference.correct.accuracy");
  summary["priced"] = correct && *correct > attacks.at("majority_rate").get<double>();
  summary["preset"] = attacks.at("preset").get<std::string>();
  return summary;
}

nlohmann::json example_attack_summary() {
  nlohmann::json summary{{"worst_case", {{"access", 0.5}}},
                         {"worst_case_as_shipped", {{"access", 0.5}}},
                         {"withheld", 0.5},
                         {"price", 10.0},
                         {"most_labels", 10.0}};
  for (const auto& figure : attack_figure_table) summary[std::string(figure.name)] = 0.5;
  return summary;
}

nlohmann::json read_attacks(const RunDirectory& run, const std::string& weights_sha256) {
  const auto path = run.attack() / "attack.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return nullptr;
  try {
    auto attacks = read_json(path);
    if (attacks.value("weights_sha256", "") != weights_sha256) {
      log::warning("{}: left out, because it tells of other weights; `spankey attack {}` measures these", path.string(),
                   run.root.string());
      return nullptr;
    }
    require_whole(attacks);
    return attacks;
  } catch (const std::exception& problem) {
    log::warning("{}: left out: {}", path.string(), problem.what());
    return nullptr;
  }
}

void count_attacks(nlohmann::json& access, const nlohmann::json& attacks) {
  if (attacks.is_null()) return;
  access["attacks"] = attack_summary(attacks);
  if (access.contains("verdict")) access["verdict"] = to_json(judge_access(access));
}

void count_attacks(nlohmann::json& result, const RunDirectory& run) {
  const auto weights = result.find("weights_sha256");
  if (weights != result.end() && weights->is_string())
    count_attacks(result, read_attacks(run, weights->get<std::string>()));
}

std::vector<AttackCurve> curves_by_images(const nlohmann::json& attacks) {
  static constexpr auto drawn = std::to_array<DrawnAttack>({{"K5", "free key"},
                                                            {"K6", "unlabelled key"},
                                                            {"W1", "fine-tuning"},
                                                            {"W1ls", "standardised"},
                                                            {"W2", "biases"},
                                                            {"O2c", "probe"},
                                                            {"S0", "from scratch"}});
  return curves_of(attacks, drawn, [](const nlohmann::json& row) { return static_cast<double>(images_of(row)); });
}

std::vector<AttackCurve> curves_by_queries(const nlohmann::json& attacks) {
  static constexpr auto drawn =
      std::to_array<DrawnAttack>({{"K1", "random keys"}, {"K8a", "search by scores"}, {"K8b", "search by answers"}});
  return curves_of(attacks, drawn, spent("queries"));
}

std::vector<AttackCurve> curves_by_leaked_keys(const nlohmann::json& attacks) {
  static constexpr auto drawn = std::to_array<DrawnAttack>({{"K4", "mean"}, {"L1", "best of all mixtures"}});
  return curves_of(attacks, drawn, spent("leaked"));
}

std::vector<AttackCurve> curves_of_tracing(const nlohmann::json& attacks) {
  std::vector<AttackCurve> curves;
  for (const auto* row : rows_of(attacks, [](const std::string& id) { return id == "L1"; })) {
    const auto traced = row->find("traced");
    if (traced == row->end() || traced->is_null()) continue;
    const auto title = row->at("budget").at("variant").get<std::string>();
    auto curve = std::find_if(curves.begin(), curves.end(), [&](const AttackCurve& one) { return one.title == title; });
    if (curve == curves.end()) curve = curves.insert(curves.end(), {title, {}});
    const auto& z = traced->at("z");
    const double mean = z.at("mean").get<double>(), sd = z.at("sd").is_null() ? 0.0 : z.at("sd").get<double>();
    curve->points.push_back({row->at("budget").at("leaked").get<double>(), mean, mean - sd, mean + sd});
  }
  for (auto& curve : curves) std::sort(curve.points.begin(), curve.points.end());
  std::sort(curves.begin(), curves.end(),
            [](const AttackCurve& a, const AttackCurve& b) { return a.title < b.title; });  // rows lie by their access
  return curves;
}

}  // namespace spankey
