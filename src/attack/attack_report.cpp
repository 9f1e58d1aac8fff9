#include "attack/attack_report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "attack/attack_plots.h"
#include "attack/budgets.h"
#include "base/file.h"
#include "base/statistics.h"
#include "page/plot.h"
#include "record/result.h"
#include "record/verdict.h"

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

bool augments(const Budget& budget) {
  return budget.variant == budgets::augmented_variant;
}

// By images and whether they are augmented, then by seed: what the images are worth without the network.
using Scratch = std::map<std::pair<std::int64_t, bool>, std::map<std::int64_t, double>>;

Scratch scratch_of(const std::vector<Group>& groups) {
  Scratch scratch;
  for (const auto& group : groups)
    if (group.attack->id == "S0")
      for (std::size_t i = 0; i < group.outcomes.size(); ++i)
        scratch[{group.budget.images, augments(group.budget)}][group.seeds[i]] = share(*group.outcomes[i], "correct");
  return scratch;
}

// Pairs an attack and training from scratch on the same images, seed by seed, both augmented or neither.
json gain_over_scratch(const Group& group, const Scratch& scratch) {
  const auto found = scratch.find({group.budget.images, augments(group.budget)});
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

// What the owner finds of the colluders in the keys that they have made. Null where he has no fingerprints to look for.
json traced_of(const Group& group) {
  std::vector<double> z, named;
  double smallest = HUGE_VAL, innocents = 0.0;
  json last;
  for (const auto* outcome : group.outcomes) {
    const auto owner = outcome->at("detail").find("owner");
    if (owner == outcome->at("detail").end() || !owner->contains("trace")) return nullptr;
    last = owner->at("trace");
    z.push_back(last.at("mean_z").get<double>());
    named.push_back(last.at("colluders_named").get<double>() / static_cast<double>(group.budget.leaked));
    smallest = std::min(smallest, last.at("smallest_z").get<double>());
    innocents += last.at("innocents_named").get<double>();
  }
  if (z.empty()) return nullptr;
  return {{"z", spread(z)},
          {"smallest_z", smallest},
          {"z_threshold", last.at("z_threshold")},
          {"users", last.at("users")},
          {"colluders_named", spread(named)},
          {"innocents_named", innocents}};
}

// The mean over the seeds.
json cost_of(const Group& group) {
  json cost = json::object();
  for (const auto* outcome : group.outcomes)
    for (const auto& [what, value] : outcome->at("cost").items())
      cost[what] = cost.value(what, 0.0) + value.get<double>() / static_cast<double>(group.outcomes.size());
  return cost;
}

// What every row is judged by.
struct Scale {
  double majority, minority, samples;
  std::optional<double> correct;
};

// A rejection is no answer. The class that is named below it may tell about the label.
json below_chance(const json& strip, const Scale& scale) {
  if (strip.is_null()) return nullptr;
  const auto remark =
      below_chance_remark(strip.at("mean").get<double>(), scale.majority, scale.minority, scale.samples);
  return remark.empty() ? json() : json(remark);
}

json row_of(const Group& group, ImageSource source, const Scratch& scratch, const Scale& scale) {
  const auto& attack = *group.attack;
  const auto access = spread(shares(group, access_count(attack)));
  json recovered;
  if (scale.correct && *scale.correct > scale.majority && !access.is_null())
    recovered = (access.at("mean").get<double>() - scale.majority) / (*scale.correct - scale.majority);
  const auto strip = spread(shares(group, "strip"));
  return {{"id", attack.id},
          {"name", attack.name},
          {"knows", knowledge_words(attack.knows)},
          {"owner", has(attack.knows, Know::owner)},
          {"needs_valid_key", needs_valid_key(attack)},
          {"data", to_string(source)},
          {"budget", to_json(group.budget)},
          {"budget_text", budget_text(group.budget)},
          {"access", access},
          {"accuracy", spread(shares(group, "correct"))},
          {"strip_accuracy", strip},
          {"below_chance", below_chance(strip, scale)},
          {"recovered", recovered},
          {"gain_over_scratch", gain_over_scratch(group, scratch)},
          {"traced", traced_of(group)},
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

// The worst of the rows that count and that `eligible` takes, or null.
template <class Eligible>
json worst_of(const std::vector<json>& rows, Eligible eligible) {
  const json* worst = nullptr;
  for (const auto& row : rows)
    if (counts_as_attack(row) && eligible(row) && (worst == nullptr || access_mean(row) > access_mean(*worst)))
      worst = &row;
  return worst == nullptr ? json() : named(*worst);
}

json worst_within(const std::vector<json>& rows, double labels) {
  return worst_of(rows, [labels](const json& row) { return cost_at(row, "labels") <= labels; });
}

// What whoever does not hold the network gets.
json worst_as_shipped(const std::vector<json>& rows) {
  return worst_of(rows, [](const json& row) {
    const auto& knows = row.at("knows");
    return std::find(knows.begin(), knows.end(), "weights") == knows.end();
  });
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

// The row of a reference where nothing else tells it: R0 for a valid key, the Gaussian ones of K2.
json reference_row(const std::vector<Group>& groups, std::string_view id, const std::string& variant) {
  for (const auto& group : groups) {
    if (group.attack->id != id || group.budget.variant != variant || group.outcomes.empty()) continue;
    return {
        {"accuracy", {{"mean", share(*group.outcomes[0], "correct")}, {"sd", nullptr}, {"keys", group.budget.keys}}}};
  }
  return nullptr;
}

json scratch_reference(const std::vector<json>& rows) {
  json found = json::array();
  for (const auto& row : rows)
    if (row.at("id") == "S0" && row.at("budget").value("variant", "").empty() && !row.at("access").is_null())
      found.push_back({{"images", row.at("budget").at("images")},
                       {"seeds", row.at("access").at("seeds")},
                       {"accuracy", row.at("access")}});
  return found;
}

json no_key_reference(const std::vector<json>& rows) {
  for (const auto& row : rows)
    if (row.at("id") == "O1" && !row.at("access").is_null())
      return {{"accuracy", row.at("accuracy").at("mean")}, {"strip_accuracy", row.at("strip_accuracy").at("mean")}};
  return nullptr;
}

// By labels, each with the worst row that needs no more.
json worst_by_labels(const std::vector<json>& rows) {
  json within = json::array();
  for (const double labels : {0.0, 1.0, 10.0, 60.0, 600.0})
    if (auto worst = worst_within(rows, labels); !worst.is_null()) {
      worst["labels"] = labels;
      within.push_back(worst);
    }
  return within;
}

json not_run_of(const AttackPlan& plan) {
  json not_run = json::array();
  for (const auto& left_out : plan.not_run) not_run.push_back({{"id", left_out.id}, {"why", left_out.why}});
  return not_run;
}

// What the first loses against the second, where both are known.
json difference(const std::optional<double>& from, const std::optional<double>& less) {
  return from && less ? json(*from - *less) : json();
}

}  // namespace

AttackReference reference_of_result(const json& result) {
  const auto& correct = result.at("correct_key").at("accuracy");
  const auto& wrong = result.at("wrong_key").at("accuracy");
  AttackReference reference;
  reference.correct = {
      {"accuracy", {{"mean", correct.at("mean")}, {"sd", correct.at("sd")}, {"keys", correct.at("keys")}}}};
  reference.wrong_key = {
      {"accuracy", {{"mean", wrong.at("mean")}, {"max", wrong.at("max")}, {"keys", wrong.at("keys")}}}};
  return reference;
}

json attack_report(const AttackedRun& run, const AttackPlan& plan, const std::vector<json>& outcomes,
                   const AttackReference& known) {
  const auto groups = groups_of(plan, outcomes);
  json reference{{"correct", known.correct.is_null() ? reference_row(groups, "R0", "") : known.correct},
                 {"wrong_key", known.wrong_key.is_null() ? reference_row(groups, "K2", "gaussian") : known.wrong_key},
                 {"vanilla", known.vanilla},
                 {"noise", known.noise},
                 {"fixed_key", known.fixed_key}};
  const auto correct = number_at(reference, "correct.accuracy");
  const Scale scale{run.data.majority_rate(), run.data.minority_rate(), static_cast<double>(run.data.judged_size()),
                    correct};
  const auto scratch = scratch_of(groups);
  std::vector<json> rows;
  for (const auto& group : groups) rows.push_back(row_of(group, run.data.source(), scratch, scale));
  sort_rows(rows);
  reference["scratch"] = scratch_reference(rows);
  reference["no_key"] = no_key_reference(rows);
  const auto worst = worst_within(rows, HUGE_VAL);
  return {{"version", 1},
          {"weights_sha256", run.weights_sha256},
          {"config_hash", run.experiment.hash},
          {"model", run.experiment.config.model.name},
          {"deny", run.experiment.config.deny.mode},
          {"data", to_string(run.data.source())},
          {"preset", plan.preset},
          {"precision", "float32"},
          {"test_samples", run.data.judged_size()},
          {"majority_rate", scale.majority},
          {"minority_rate", scale.minority},
          {"reference", reference},
          {"rows", rows},
          {"worst_case", worst},
          {"worst_case_as_shipped", worst_as_shipped(rows)},
          {"worst_case_within", worst_by_labels(rows)},
          {"withheld", difference(correct, number_at(worst, "access"))},
          {"utility_cost", difference(number_at(reference, "vanilla.accuracy"), correct)},
          {"price_of_entry", price_of_entry(rows)},
          {"not_run", not_run_of(plan)}};
}

bool write_attack_report(const json& report, const std::filesystem::path& folder) {
  make_writable_folder(folder);
  write_durably(folder / "attack.json", report.dump(2) + "\n");
  PlotFolder plots(folder, /*below=*/"");
  auto document = attack_document(report);
  Section figures{"Plots", {}};
  for (auto& figure : draw_attacks(report, plots)) figures.blocks.emplace_back(std::move(figure));
  if (!figures.blocks.empty()) document.sections.insert(document.sections.end() - 1, std::move(figures));
  write_durably(folder / "attack.md", to_markdown(document));
  write_durably(folder / "attack.html", to_html(document, folder));
  write_durably(folder / document_file, to_json_text(document));
  return !plots.gnuplot_missing();
}

}  // namespace spankey
