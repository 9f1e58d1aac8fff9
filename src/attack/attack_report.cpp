#include "attack/attack_report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "base/file.h"
#include "base/statistics.h"

namespace spankey {
namespace {

using nlohmann::json;

// An attack recovers what is withheld where it gets so much of what a valid key gives above chance.
constexpr double success = 0.9;

struct Group {
  const Attack* attack;
  Budget budget;
  std::vector<const json*> outcomes;  // by seed, failed ones left out
  std::vector<std::int64_t> seeds;    // of those
  std::vector<std::string> failures;
};

std::vector<Group> groups_of(const AttackPlan& plan, const std::vector<json>& outcomes) {
  std::vector<Group> groups;
  for (std::size_t i = 0; i < plan.units.size(); ++i) {
    const auto& unit = plan.units[i];
    if (groups.empty() || groups.back().attack != unit.attack || !(groups.back().budget == unit.budget))
      groups.push_back({unit.attack, unit.budget, {}, {}, {}});
    auto& group = groups.back();
    if (outcomes[i].at("failure").is_null()) {
      group.outcomes.push_back(&outcomes[i]);
      group.seeds.push_back(unit.seed);
    } else {
      group.failures.push_back(outcomes[i].at("failure").get<std::string>());
    }
  }
  return groups;
}

double share(const json& outcome, const char* count) {
  const auto& access = outcome.at("access");
  return access.at(count).get<double>() / access.at("samples").get<double>();
}

std::vector<double> shares(const Group& group, const char* count) {
  std::vector<double> values;
  for (const auto* outcome : group.outcomes) values.push_back(share(*outcome, count));
  return values;
}

json spread(const std::vector<double>& values) {
  if (values.empty()) return nullptr;
  const auto all = summarise(values);
  return {{"mean", all.mean},
          {"sd", values.size() > 1 ? json(all.sd) : json()},
          {"min", all.min},
          {"max", all.max},
          {"seeds", values.size()}};
}

const char* access_count(const Attack& attack) {
  return reads_class_logits(attack) ? "strip" : "correct";
}

// By images, then by seed: what the images are worth without the network.
using Scratch = std::map<std::int64_t, std::map<std::int64_t, double>>;

Scratch scratch_of(const std::vector<Group>& groups) {
  Scratch scratch;
  for (const auto& group : groups)
    if (group.attack->id == "S0")
      for (std::size_t i = 0; i < group.outcomes.size(); ++i)
        scratch[group.budget.images][group.seeds[i]] = share(*group.outcomes[i], "correct");
  return scratch;
}

// Pairs an attack and training from scratch on the same images, seed by seed.
json gain_over_scratch(const Group& group, const Scratch& scratch) {
  const auto found = scratch.find(group.budget.images);
  if (found == scratch.end() || group.budget.keys > 0 || group.attack->id == "S0") return nullptr;
  std::vector<double> gains;
  for (std::size_t i = 0; i < group.outcomes.size(); ++i)
    if (const auto same = found->second.find(group.seeds[i]); same != found->second.end())
      gains.push_back(share(*group.outcomes[i], access_count(*group.attack)) - same->second);
  if (gains.empty()) return nullptr;
  const auto all = summarise(gains);
  const auto pairs = static_cast<double>(gains.size());
  return {{"mean", all.mean}, {"se", gains.size() > 1 ? json(all.sd / std::sqrt(pairs)) : json()}, {"pairs", pairs}};
}

// The mean over the seeds.
json cost_of(const Group& group) {
  json cost = json::object();
  for (const auto* outcome : group.outcomes)
    for (const auto& [what, value] : outcome->at("cost").items())
      cost[what] = cost.value(what, 0.0) + value.get<double>() / static_cast<double>(group.outcomes.size());
  return cost;
}

json row_of(const Group& group, ImageSource source, const Scratch& scratch, double majority,
            const std::optional<double>& correct) {
  const auto& attack = *group.attack;
  const auto access = spread(shares(group, access_count(attack)));
  json recovered;
  if (correct && *correct > majority && !access.is_null())
    recovered = (access.at("mean").get<double>() - majority) / (*correct - majority);
  return {{"id", attack.id},
          {"name", attack.name},
          {"knows", knowledge_text(attack.knows)},
          {"owner", has(attack.knows, Know::owner)},
          {"needs_valid_key", needs_valid_key(attack)},
          {"data", to_string(source)},
          {"budget", to_json(group.budget)},
          {"budget_text", budget_text(group.budget)},
          {"access", access},
          {"accuracy", spread(shares(group, "correct"))},
          {"strip_accuracy", spread(shares(group, "strip"))},
          {"recovered", recovered},
          {"gain_over_scratch", gain_over_scratch(group, scratch)},
          {"cost", cost_of(group)},
          {"detail", group.outcomes.empty() ? json() : group.outcomes[0]->at("detail")},
          {"failures", group.failures}};
}

double access_mean(const json& row) {
  return row.at("access").is_null() ? -1.0 : row.at("access").at("mean").get<double>();
}

double cost_at(const json& row, const char* what) {
  return row.at("cost").value(what, 0.0);
}

// Whatever says something about who has no valid key and has stolen the network, worst first.
bool counts_as_attack(const json& row) {
  return !row.at("needs_valid_key").get<bool>() && row.at("id") != "S0" && !row.at("access").is_null();
}

json named(const json& row) {
  return {{"access", row.at("access").at("mean")},
          {"max", row.at("access").at("max")},
          {"id", row.at("id")},
          {"name", row.at("name")},
          {"budget", row.at("budget")},
          {"budget_text", row.at("budget_text")}};
}

// The worst of the rows that need at most so many labels, or null.
json worst_within(const std::vector<json>& rows, double labels) {
  const json* worst = nullptr;
  for (const auto& row : rows)
    if (counts_as_attack(row) && cost_at(row, "labels") <= labels &&
        (worst == nullptr || access_mean(row) > access_mean(*worst)))
      worst = &row;
  return worst == nullptr ? json() : named(*worst);
}

// The least of `what` among the rows that succeed, are `eligible` and pay in it.
template <class Eligible>
json price(const std::vector<json>& rows, const char* what, Eligible eligible) {
  const json* cheapest = nullptr;
  for (const auto& row : rows)
    if (eligible(row) && !row.at("recovered").is_null() && row.at("recovered").get<double>() >= success &&
        (cheapest == nullptr || cost_at(row, what) < cost_at(*cheapest, what)))
      cheapest = &row;
  if (cheapest == nullptr) return nullptr;
  return {{what, cost_at(*cheapest, what)}, {"id", cheapest->at("id")}, {"budget_text", cheapest->at("budget_text")}};
}

json price_of_entry(const std::vector<json>& rows) {
  return {{"labels", price(rows, "labels",
                           [](const json& row) { return counts_as_attack(row) && cost_at(row, "queries") == 0; })},
          {"queries", price(rows, "queries",
                            [](const json& row) { return counts_as_attack(row) && cost_at(row, "queries") > 0; })},
          {"leaked", price(rows, "leaked", [](const json& row) { return cost_at(row, "leaked") > 0; })}};
}

// Owner's rows first in the order of the registry, then the attacks, worst first, then training from scratch.
int place(const json& row) {
  if (row.at("owner").get<bool>()) return 0;
  return row.at("id") == "S0" ? 2 : 1;
}

void sort_rows(std::vector<json>& rows) {
  std::stable_sort(rows.begin(), rows.end(), [](const json& a, const json& b) {
    if (place(a) != place(b)) return place(a) < place(b);
    return place(a) == 1 && access_mean(a) > access_mean(b);
  });
}

std::optional<double> measured_correct(const std::vector<Group>& groups) {
  for (const auto& group : groups)
    if (group.attack->id == "R0" && !group.outcomes.empty()) return share(*group.outcomes[0], "correct");
  return std::nullopt;
}

}  // namespace

json attack_report(const AttackedRun& run, const AttackPlan& plan, const std::vector<json>& outcomes,
                   std::optional<double> correct) {
  const double majority = run.data.majority_rate();
  const auto groups = groups_of(plan, outcomes);
  if (!correct) correct = measured_correct(groups);
  const auto scratch = scratch_of(groups);
  std::vector<json> rows;
  for (const auto& group : groups) rows.push_back(row_of(group, run.data.source(), scratch, majority, correct));
  sort_rows(rows);
  json within = json::array();
  for (const double labels : {0.0, 1.0, 10.0, 60.0, 600.0})
    if (auto worst = worst_within(rows, labels); !worst.is_null()) {
      worst["labels"] = labels;
      within.push_back(worst);
    }
  const auto worst = worst_within(rows, HUGE_VAL);
  json not_run = json::array();
  for (const auto& left_out : plan.not_run) not_run.push_back({{"id", left_out.id}, {"why", left_out.why}});
  return {{"version", 1},
          {"weights_sha256", run.weights_sha256},
          {"config_hash", run.experiment.hash},
          {"model", run.experiment.config.model.name},
          {"deny", run.experiment.config.deny.mode},
          {"data", to_string(run.data.source())},
          {"precision", "float32"},
          {"test_samples", run.data.judged_size()},
          {"majority_rate", majority},
          {"correct", correct ? json(*correct) : json()},
          {"rows", rows},
          {"worst_case", worst},
          {"worst_case_within", within},
          {"withheld", correct && !worst.is_null() ? json(*correct - worst.at("access").get<double>()) : json()},
          {"price_of_entry", price_of_entry(rows)},
          {"not_run", not_run}};
}

void write_attack_report(const json& report, const std::filesystem::path& folder) {
  make_writable_folder(folder);
  write_durably(folder / "attack.json", report.dump(2) + "\n");
  write_durably(folder / "attack.md", to_markdown(attack_document(report)));
}

}  // namespace spankey
