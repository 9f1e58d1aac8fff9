#include "report/report_tables.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "config/entries.h"
#include "config/names.h"
#include "record/attack_record.h"
#include "record/verdict.h"
#include "report/attack_section.h"
#include "report/key_plots.h"

namespace spankey {
namespace {

constexpr const char* not_run = "not run";

// Figures that are compared over seeds, with their names for people. Those of the training split are added where it was
// measured.
struct Followed {
  std::string path;
  std::string title;
};
std::vector<Followed> figures_with_attacks(std::vector<Followed> figures) {
  for (const auto& figure : attack_figures())
    figures.push_back({fmt::format("attacks.{}", figure.name), fmt::format("attack: {}", figure.title)});
  return figures;
}
const std::vector<Followed>& followed_figures() {
  static const std::vector<Followed> figures = figures_with_attacks({
      {"correct_key.accuracy", "correct key"},
      {"no_key.accuracy", "no key"},
      {"no_key.strip_accuracy", "no key, strip"},
      {"wrong_key.accuracy", "wrong key, mean"},
      {"wrong_key.accuracy.max", "wrong key, max"},
      {"wrong_key.strip_accuracy", "wrong key, strip"},
      {"verdict.worst.accuracy", "worst case"},
      {"verdict.derived_key.accuracy", "worst case of keys made of a valid one"},
      {"verdict.withheld", "withheld"},
      {"verdict.withheld_as_shipped", "withheld as shipped"},
      {"no_key.reject_fraction", "no key, rejected"},
      {"correct_key.reject_fraction", "correct key, rejected"},
      {"wrong_key.reject_fraction", "wrong key, rejected"},
      {"train.correct_key.accuracy", "training split, correct key"},
      {"train.no_key.accuracy", "training split, no key"},
      {"train.wrong_key.accuracy", "training split, wrong key"},
      {"train.no_key.reject_fraction", "training split, no key rejected"},
      {"train.correct_key.reject_fraction", "training split, correct key rejected"},
      {"train.wrong_key.reject_fraction", "training split, wrong key rejected"},
  });
  return figures;
}

std::string highest(const Group& group, const std::string& path) {
  const auto spread = group.spread(path);
  return spread ? fmt::format("{:.4f}", spread->summary.max) : "-";
}

std::string interval_text(const Interval& interval) {
  return std::isfinite(interval.low) ? fmt::format("{:.4f} to {:.4f}", interval.low, interval.high) : "-";
}

std::string number(std::optional<double> value) {
  return value && std::isfinite(*value) ? fmt::format("{}", *value) : "";
}

const char* yes_no(bool value) {
  return value ? "yes" : "no";
}

double withheld(const RunRecord& run) {
  return *number_at(run.result, "verdict.withheld");
}

std::string grade(const RunRecord& run) {
  return run.result.at("verdict").at("grade").get<std::string>();
}

// The progress of an unfinished run.
std::int64_t steps_of(const RunRecord& run) {
  return run.status == RunStatus::done ? static_cast<std::int64_t>(number_at(run.result, "steps").value_or(0.0))
                                       : run.steps_done;
}

// Every number of a result by its path, such as "wrong_key.accuracy.mean". Texts and lists are left out.
void flatten(const nlohmann::json& node, const std::string& path, std::map<std::string, double>& numbers) {
  if (node.is_number()) numbers[path] = node.get<double>();
  if (!node.is_object()) return;
  for (const auto& [name, child] : node.items()) flatten(child, path.empty() ? name : path + "." + name, numbers);
}

std::vector<std::string> varied_keys(const std::vector<RunRecord>& runs) {
  std::map<std::string, std::string> first;
  std::set<std::string> differing;
  for (const auto& run : runs)
    for (const auto& entry : entries(run.config)) {
      if (!entry.hashed) continue;
      const auto [at, fresh] = first.emplace(entry.key, entry.canonical);
      if (!fresh && at->second != entry.canonical) differing.insert(entry.key);
    }
  differing.erase("run.seed");  // has a column of its own
  return {differing.begin(), differing.end()};
}

std::string verdict_text(const PublishedVerdict& verdict, std::size_t seeds) {
  if (seeds < 2) return verdict.in_range ? "equal to our one seed" : "one seed of ours says nothing";
  if (verdict.in_range) return "inside our seeds' range";
  return verdict.in_prediction ? "outside our range, inside the prediction interval" : "outside both";
}

// One configuration may have been published as several rows.
void add_published_rows(Table& table, const Group& group) {
  const auto& row = *group.published.row;
  for (const auto& [path, title] : followed_figures()) {
    const auto verdicts = judge_published(group, path);
    if (verdicts.empty()) continue;
    const auto ours = *group.spread(path);
    for (std::size_t i = 0; i < verdicts.size(); ++i) {
      const auto& verdict = verdicts[i];
      table.rows.push_back({{group.label},
                            {row.titles[i]},
                            {title},
                            {mean_sd(group, path)},
                            {fmt::format("{}", ours.values.size())},
                            {fmt::format("{:.4f} to {:.4f}", ours.summary.min, ours.summary.max)},
                            {interval_text(ours.prediction)},
                            {fmt::format("{:.4f}", verdict.published)},
                            {verdict_text(verdict, ours.values.size())},
                            {verdict.acceptance ? (*verdict.acceptance ? "met" : "missed") : "none"}});
    }
  }
}

// `report` is the result whose test split the figures describe, or null for another split.
std::vector<Cell> split_row(const std::string& name, const nlohmann::json& figures, const nlohmann::json& report) {
  const auto cell = [&](const char* path) {
    const auto value = number_at(figures, path);
    return Cell{value ? fmt::format("{:.4f}", *value) : "-"};
  };
  const auto keys = number_at(figures, "accuracy.keys");
  const auto strip = number_at(figures, "strip_accuracy");
  const bool below = strip && report.is_object() &&
                     is_below_chance(*strip, *number_at(report, "majority_rate"), *number_at(report, "test_samples"));
  return {{name},
          {keys ? fmt::format("{:.0f}", *keys) : "-"},
          cell("accuracy"),
          cell("accuracy.sd"),
          cell("accuracy.min"),
          cell("accuracy.max"),
          cell("strip_accuracy"),
          cell("reject_fraction"),
          {below ? "below chance" : ""}};
}

void add_split(Table& table, const nlohmann::json& access, const std::string& suffix, const nlohmann::json& report) {
  table.rows.push_back(split_row("correct key" + suffix, access.at("correct_key"), report));
  table.rows.push_back(split_row("no key" + suffix, access.at("no_key"), report));
  table.rows.push_back(split_row("wrong key" + suffix, access.at("wrong_key"), report));
  const auto families = family_figures(access);
  if (families.size() > 1)
    for (const auto& family : families)
      table.rows.push_back(
          split_row(fmt::format("wrong key, {}{}{}", family.name,
                                is_derived_family(family.name) ? " (made of a valid key)" : "", suffix),
                    family.figures, report));
}

// Says in a caption what the wrong keys are, where they are not the usual ones.
std::string wrong_family_note(const std::vector<const RunRecord*>& runs) {
  constexpr const char* usual = "gaussian";  // results of earlier versions name none
  std::vector<std::string> families;
  for (const auto* run : runs) {
    const auto family = run->result.value("wrong_family", std::string(usual));
    if (std::find(families.begin(), families.end(), family) == families.end()) families.push_back(family);
  }
  return families == std::vector<std::string>{usual}
             ? std::string()
             : fmt::format(" Family of the wrong keys: {}.", fmt::join(families, ", "));
}

std::vector<Cell> access_row(const Group& group, bool twins, bool rejects, bool derived) {
  double seconds = 0.0;
  for (const auto* run : group.runs) seconds += run->seconds() / static_cast<double>(group.runs.size());
  std::vector<Cell> row{
      {group.label}, {fmt::format("{}", group.runs.size())}, {mean_sd(group, "correct_key.accuracy")}};
  const std::string no_twin = group.config().train.twin == Twin::vanilla ? "-" : not_run;
  if (twins) row.push_back({group.vanilla ? mean_sd(*group.vanilla, "no_key.accuracy") : no_twin});
  for (const char* path : {"no_key.accuracy", "no_key.strip_accuracy", "wrong_key.accuracy"})
    row.push_back({mean_sd(group, path)});
  row.push_back({highest(group, "wrong_key.accuracy.max")});
  row.push_back({mean_sd(group, "wrong_key.strip_accuracy")});
  row.push_back({highest(group, "verdict.worst.accuracy")});
  if (derived) row.push_back({highest(group, "verdict.derived_key.accuracy")});
  row.push_back({fmt::format("{:.4f}", withheld(group.least_withholding()))});
  row.push_back({grade(group.least_withholding())});
  if (twins)
    row.push_back({group.vanilla ? fmt::format("{:.4f}", group.vanilla->mean("no_key.accuracy") -
                                                             group.mean("correct_key.accuracy"))
                                 : no_twin});
  if (rejects) row.push_back({mean_sd(group, "wrong_key.reject_fraction")});
  row.push_back({fmt::format("{:.1f}", seconds)});
  return row;
}

}  // namespace

std::string mean_sd(const Group& group, const std::string& path) {
  const auto spread = group.spread(path);
  if (!spread) return "-";
  return spread->values.size() > 1 ? fmt::format("{:.4f} ± {:.4f}", spread->summary.mean, spread->summary.sd)
                                   : fmt::format("{:.4f}", spread->summary.mean);
}

std::string link_to(const std::filesystem::path& directory, const std::filesystem::path& out) {
  std::error_code error;
  const auto to = std::filesystem::weakly_canonical(directory, error);
  return to.lexically_relative(std::filesystem::weakly_canonical(out, error)).generic_string();
}

Table access_table_of(const DataStudy& study) {
  const auto any = [&](const auto& holds) { return std::any_of(study.groups.begin(), study.groups.end(), holds); };
  const bool batch_keys = any([](const Group& group) { return group.config().eval.keys == 0; });
  const bool rejects = any([](const Group& group) { return group.spread("wrong_key.reject_fraction").has_value(); });
  const bool twins = any([](const Group& group) { return group.vanilla != nullptr; });
  const bool derived = any([](const Group& group) { return group.spread("verdict.derived_key.accuracy").has_value(); });
  std::vector<const RunRecord*> runs;
  for (const auto& group : study.groups) runs.push_back(group.runs.front());
  Table table{
      fmt::format(
          "Accuracy on the test split, mean ± sd over seeds; a rejection counts as wrong, strip ignores it. "
          "Max: the best single wrong key of any seed. Worst case: the most that any seed gave to somebody "
          "without a valid key, rejection ignored or not, among what was tried here.{}{} Keys made of a valid "
          "one do not count in it. Withheld: the correct key's accuracy less the worst case, of the seed that "
          "withholds least, whose verdict stands beside it. Always answering the commonest class gives {:.4f}.{}",
          batch_keys ? " Keys were drawn anew for every batch (the reference's protocol), so a single key's "
                       "figure rests on one batch and does not count in the worst case."
                     : "",
          wrong_family_note(runs), study.groups.front().mean("majority_rate"), attacks_not_run_note(study, twins)),
      {{"group", false}, {"seeds"}, {"correct key"}},
      {}};
  const auto column = [&](const char* title, const char* help = "") { table.columns.push_back({title, true, help}); };
  if (twins) column("vanilla twin", "the same network trained without keys");
  for (const char* title : {"no key", "no key, strip", "wrong key", "wrong key, max", "wrong key, strip", "worst case"})
    column(title);
  if (derived) column("worst case, keys made of a valid one", "only the holder of a valid key can make these");
  column("withheld", "correct key less worst case");
  table.columns.push_back({"verdict", false, "of the key: see the glossary"});
  if (twins) column("utility cost", "accuracy of the vanilla twin less that of the correct key");
  if (rejects) column("wrong key rejected", "share of the answers");
  column("seconds a run", "of training");
  for (const auto& group : study.groups) table.rows.push_back(access_row(group, twins, rejects, derived));
  return table;
}

Table interval_table(const DataStudy& study) {
  Table table{
      "Over seeds: mean, standard deviation, 95 % interval of the mean (Wilson's score interval with the "
      "variance between seeds and Student's t: it stays within what a share can be), lowest and highest seed.",
      {{"group", false}, {"figure", false}, {"n"}, {"mean"}, {"sd"}, {"95 % interval"}, {"min"}, {"max"}},
      {}};
  for (const auto& group : study.groups)
    for (const auto& [path, title] : followed_figures()) {
      const auto spread = group.spread(path);
      if (!spread) continue;
      const auto& s = spread->summary;
      table.rows.push_back({{group.label},
                            {title},
                            {fmt::format("{}", s.count)},
                            {fmt::format("{:.4f}", s.mean)},
                            {s.count > 1 ? fmt::format("{:.4f}", s.sd) : "-"},
                            {interval_text(spread->mean_interval)},
                            {fmt::format("{:.4f}", s.min)},
                            {fmt::format("{:.4f}", s.max)}});
    }
  return table;
}

Table published_table(const DataStudy& study, const std::string& source) {
  Table table{
      "Published figures, one seed each, beside ours. Range: lowest to highest of our seeds. Prediction interval: "
      "where one more seed of ours would fall with 95 % (Wilson's score interval with the variance between seeds and "
      "Student's t). Source: " +
          source,
      {{"group", false},
       {"published row", false},
       {"figure", false},
       {"ours"},
       {"seeds"},
       {"range"},
       {"prediction interval"},
       {"published"},
       {"published value lies", false},
       {"acceptance band", false}},
      {}};
  for (const auto& group : study.groups)
    if (group.published.row && group.published.differences.empty()) add_published_rows(table, group);
  return table;
}

Table extremes_table(const DataStudy& study, const std::filesystem::path& out) {
  Table table{
      "Best and worst runs. Withheld is the accuracy of the correct key less the worst case: what the key decides. "
      "Verdict: what that comes to.",
      {{"", false},
       {"group", false},
       {"seed"},
       {"correct key"},
       {"worst case"},
       {"withheld"},
       {"verdict", false},
       {"run directory", false}},
      {}};
  std::vector<const RunRecord*> runs;
  std::map<const RunRecord*, std::string> labels;
  for (const auto& group : study.groups)
    for (const auto* run : group.runs) {
      runs.push_back(run);
      labels[run] = group.label;
    }
  const auto add = [&](const char* title, const RunRecord* run) {
    table.rows.push_back({{title},
                          {labels[run]},
                          {fmt::format("{}", run->config.run.seed)},
                          {fmt::format("{:.4f}", *number_at(run->result, "correct_key.accuracy"))},
                          {fmt::format("{:.4f}", *number_at(run->result, "verdict.worst.accuracy"))},
                          {fmt::format("{:.4f}", withheld(*run))},
                          {grade(*run)},
                          {run->directory.filename().string(), link_to(run->directory, out)}});
  };
  const auto [low, high] = std::minmax_element(runs.begin(), runs.end(), [](const auto* a, const auto* b) {
    return *number_at(a->result, "correct_key.accuracy") < *number_at(b->result, "correct_key.accuracy");
  });
  add("best under the correct key", *high);
  add("worst under the correct key", *low);
  const auto [least, most] = std::minmax_element(
      runs.begin(), runs.end(), [](const auto* a, const auto* b) { return withheld(*a) < withheld(*b); });
  add("most withheld", *most);
  add("least withheld", *least);
  return table;
}

Table open_runs_table(const RunCollection& collection, const std::filesystem::path& out) {
  Table table{
      "Runs that are not in the tables above, as far as they came. Accuracies are those of the last evaluation, "
      "which tries one key.",
      {{"status", false},
       {"seed"},
       {"run", false},
       {"steps done"},
       {"epochs evaluated"},
       {"correct key"},
       {"no key"},
       {"no key, strip"},
       {"wrong key"},
       {"reason", false},
       {"log", false}},
      {}};
  for (const auto& run : collection.runs) {
    if (run.status == RunStatus::done) continue;
    const auto cell = [&](const char* path) {
      const auto value = number_at(run.last_evaluation, path);
      return Cell{value ? fmt::format("{:.4f}", *value) : "-"};
    };
    table.rows.push_back(
        {{to_string(run.status)},
         {fmt::format("{}", run.config.run.seed)},
         {run.name(), link_to(run.directory, out)},
         {fmt::format("{}", run.steps_done)},
         {fmt::format("{} of {}", run.epochs_done, run.config.train.epochs)},
         cell("correct_key.accuracy"),
         cell("no_key.accuracy"),
         cell("no_key.strip_accuracy"),
         cell("wrong_key.accuracy"),
         {run.reason},
         {run.log.empty() ? "" : run.log.filename().string(), run.log.empty() ? "" : link_to(run.log, out)}});
  }
  for (const auto& damaged : collection.damaged) {
    auto& row = table.rows.emplace_back(table.columns.size(), Cell{"-"});
    row[0] = {"damaged"};
    row[2] = {damaged.path.string()};
    row[9] = {damaged.reason};
    row[10] = {""};
  }
  return table;
}

Table early_stop_table(const RunCollection& collection, const std::filesystem::path& out) {
  Table table{"Runs that train.early_stop ended. Their figures, in the tables above, are those of their last epoch.",
              {{"seed"}, {"run directory", false}, {"epochs"}, {"reason", false}},
              {}};
  for (const auto& run : collection.runs)
    if (run.status == RunStatus::done && !run.reason.empty())
      table.rows.push_back(
          {{fmt::format("{}", run.config.run.seed)},
           {run.directory.filename().string(), link_to(run.directory, out)},
           {fmt::format("{:g} of {}", number_at(run.result, "epochs").value_or(0.0), run.config.train.epochs)},
           {run.reason}});
  return table;
}

Table run_table(const RunRecord& run) {
  Table table{
      fmt::format(
          "Accuracy on {} test samples; a rejection counts as wrong, strip ignores it. sd, min and max are over "
          "keys{}.{} Always answering the commonest class gives {:.4f}.",
          run.result.at("test_samples").get<std::int64_t>(),
          run.config.eval.keys == 0 ? " (each on one batch, the reference's protocol)" : "", wrong_family_note({&run}),
          run.result.at("majority_rate").get<double>()),
      {{"key", false},
       {"keys"},
       {"accuracy"},
       {"sd"},
       {"min"},
       {"max"},
       {"strip accuracy"},
       {"rejected"},
       {"", false, "strip accuracy significantly below always answering the commonest class"}},
      {}};
  add_split(table, run.result, "", run.result);
  if (run.result.contains("train")) add_split(table, run.result.at("train"), ", training split", nullptr);
  return table;
}

std::string trials_csv(const RunCollection& collection) {
  const auto varied = varied_keys(collection.runs);
  std::vector<std::map<std::string, double>> numbers(collection.runs.size());
  std::set<std::string> names;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto& run = collection.runs[i];
    flatten(run.status == RunStatus::done ? run.result : run.last_evaluation, "", numbers[i]);
    for (const auto& [name, value] : numbers[i]) names.insert(name);
  }
  std::vector<std::string> head{"hash", "name", "seed", "status", "verdict", "steps_done"};
  head.insert(head.end(), varied.begin(), varied.end());
  head.insert(head.end(), names.begin(), names.end());
  for (const char* name : {"core_hours", "gpu_hours", "data_digest", "weights_sha256", "run_directory", "reason"})
    head.emplace_back(name);
  auto text = csv_line(head);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto& run = collection.runs[i];
    std::map<std::string, std::string> values;
    for (const auto& entry : entries(run.config)) values[entry.key] = plain_value(entry.value);
    std::vector<std::string> row{run.hash,
                                 run.config.run.name,
                                 fmt::format("{}", run.config.run.seed),
                                 to_string(run.status),
                                 run.status == RunStatus::done ? grade(run) : "",
                                 fmt::format("{}", steps_of(run))};
    for (const auto& key : varied) row.push_back(values.at(key));
    for (const auto& name : names)
      row.push_back(numbers[i].contains(name) ? fmt::format("{}", numbers[i].at(name)) : "");
    row.push_back(number(run.core_hours()));
    row.push_back(number(run.gpu_hours()));
    row.push_back(run.data_digest);
    row.push_back(run.result.is_object() ? run.result.value("weights_sha256", "") : "");
    row.push_back(run.directory.string());
    row.push_back(run.reason);
    text += csv_line(row);
  }
  return text;
}

std::string groups_csv(const std::vector<DataStudy>& studies) {
  auto text = csv_line({"data", "group", "seeds", "figure", "n", "mean", "sd", "ci95_low", "ci95_high", "min", "max",
                        "prediction_low", "prediction_high", "published", "inside_range", "inside_prediction",
                        "published_row", "verdict"});
  for (const auto& study : studies)
    for (const auto& group : study.groups) {
      std::vector<std::int64_t> seeds;
      for (const auto* run : group.runs) seeds.push_back(run->config.run.seed);
      for (const auto& [path, title] : followed_figures()) {
        const auto spread = group.spread(path);
        if (!spread) continue;
        const auto& s = spread->summary;
        std::vector<std::string> published, in_range, in_prediction;
        if (group.published.differences.empty())
          for (const auto& verdict : judge_published(group, path)) {
            published.push_back(number(verdict.published));
            in_range.emplace_back(yes_no(verdict.in_range));
            in_prediction.emplace_back(yes_no(verdict.in_prediction));
          }
        text +=
            csv_line({study.data, group.label, fmt::format("{}", fmt::join(seeds, " ")), path,
                      fmt::format("{}", s.count), number(s.mean), number(s.sd), number(spread->mean_interval.low),
                      number(spread->mean_interval.high), number(s.min), number(s.max), number(spread->prediction.low),
                      number(spread->prediction.high), fmt::format("{}", fmt::join(published, " ")),
                      fmt::format("{}", fmt::join(in_range, " ")), fmt::format("{}", fmt::join(in_prediction, " ")),
                      published.empty() ? "" : group.published.row->name, grade(group.least_withholding())});
      }
    }
  return text;
}

}  // namespace spankey
