#include "report/report.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "base/version.h"
#include "page/document.h"
#include "page/plot.h"
#include "report/attack_section.h"
#include "report/diagnosis_page.h"
#include "report/key_figures.h"
#include "report/key_plots.h"
#include "report/learning_curve.h"
#include "report/report_tables.h"
#include "report/study_plots.h"

namespace spankey {
namespace {

constexpr std::size_t most_open_curves = 6;

void add_figures(Section& section, std::vector<Figure> figures) {
  for (auto& figure : figures) section.blocks.emplace_back(std::move(figure));
}

void add_section(Document& document, Section section) {
  if (!section.blocks.empty()) document.sections.push_back(std::move(section));
}

std::string counts_text(const RunCollection& collection) {
  std::vector<std::string> parts;
  for (const auto status : {RunStatus::done, RunStatus::unfinished, RunStatus::running, RunStatus::failed,
                            RunStatus::waiting, RunStatus::stopped}) {
    const auto count = std::count_if(collection.runs.begin(), collection.runs.end(),
                                     [&](const RunRecord& run) { return run.status == status; });
    if (count > 0 || status == RunStatus::failed) parts.push_back(fmt::format("{} {}", count, to_string(status)));
  }
  const auto early = std::count_if(collection.runs.begin(), collection.runs.end(), [](const RunRecord& run) {
    return run.status == RunStatus::done && !run.reason.empty();
  });
  if (early > 0) parts.front() += fmt::format(" ({} stopped early)", early);
  if (!collection.damaged.empty()) parts.push_back(fmt::format("{} damaged", collection.damaged.size()));
  return fmt::format("{}", fmt::join(parts, ", "));
}

double gap_as_shipped(const Group& group) {
  return group.mean("correct_key.accuracy") - std::max(group.mean("no_key.accuracy"), group.mean("wrong_key.accuracy"));
}

// The worst of all seeds, as in the tables.
double withheld_at_worst(const Group& group) {
  return *number_at(group.least_withholding().result, "verdict.withheld");
}

// The range over seeds. What the loss does not control varies too much to be averaged.
std::string range_text(const Group& group, const char* path) {
  const auto over_seeds = group.spread(path)->summary;
  const auto low = fmt::format("{:.3f}", over_seeds.min), high = fmt::format("{:.3f}", over_seeds.max);
  return low == high ? low : low + " to " + high;
}

std::string verdict_text_of(const RunRecord& run) {
  return run.result.at("verdict").at("text").get<std::string>();
}

const Group& withholding_most(const DataStudy& study) {
  return *std::max_element(study.groups.begin(), study.groups.end(),
                           [](const Group& a, const Group& b) { return withheld_at_worst(a) < withheld_at_worst(b); });
}

// Summarises the group whose key decides most, with its accuracy for each kind of user, on average and at worst.
std::string study_summary(const DataStudy& study) {
  const auto [low, high] = std::minmax_element(
      study.groups.begin(), study.groups.end(),
      [](const Group& a, const Group& b) { return a.mean("correct_key.accuracy") < b.mean("correct_key.accuracy"); });
  const auto* shipped =
      &*std::max_element(study.groups.begin(), study.groups.end(),
                         [](const Group& a, const Group& b) { return gap_as_shipped(a) < gap_as_shipped(b); });
  const auto* worst = &withholding_most(study);
  auto text = fmt::format(
      "With a correct key the networks are right on {:.3f} to {:.3f} of the test samples (group means). As shipped, "
      "the "
      "gap is widest for {}: {:.3f} with a correct key, {} without one, {:.3f} with a wrong one on average.",
      low->mean("correct_key.accuracy"), high->mean("correct_key.accuracy"), shipped->label,
      shipped->mean("correct_key.accuracy"), range_text(*shipped, "no_key.accuracy"),
      shipped->mean("wrong_key.accuracy"));
  if (shipped->spread("no_key.reject_fraction"))
    text += fmt::format(" Whoever holds those weights and ignores the rejection gets {:.3f} without a key.",
                        shipped->mean("no_key.strip_accuracy"));
  return text + fmt::format(" In the worst case tried here, {} withholds most: {:.3f} of accuracy. {}", worst->label,
                            withheld_at_worst(*worst), verdict_text_of(worst->least_withholding()));
}

void add_cost(Section& section, const RunCollection& collection) {
  double seconds = 0.0, core_hours = 0.0, gpu_hours = 0.0;
  std::size_t unknown = 0;
  for (const auto& run : collection.runs) {
    if (run.status != RunStatus::done) continue;
    seconds += run.seconds();
    core_hours += run.core_hours().value_or(0.0);
    gpu_hours += run.gpu_hours().value_or(0.0);
    unknown += run.core_hours() || run.gpu_hours() ? 0 : 1;
  }
  auto text = fmt::format("Training took {} in all ({:.1f} s)", duration_text(seconds), seconds);
  if (core_hours > 0) text += fmt::format(", {:.4f} core hours", core_hours);
  if (gpu_hours > 0) text += fmt::format(", {:.4f} GPU hours", gpu_hours);
  if (unknown > 0)
    text += fmt::format(", {} left out whose number of threads is not recorded",
                        counted(static_cast<std::int64_t>(unknown), "run"));
  section.blocks.emplace_back(Paragraph{text + "; evaluation is not in it."});
}

// "4", or "2 to 5" where groups differ.
std::string range_over_groups(const DataStudy& study, std::int64_t (*value)(const Group&)) {
  const auto [low, high] = std::minmax_element(study.groups.begin(), study.groups.end(),
                                               [&](const Group& a, const Group& b) { return value(a) < value(b); });
  return value(*low) == value(*high) ? fmt::format("{}", value(*low))
                                     : fmt::format("{} to {}", value(*low), value(*high));
}

// The numbers of seeds, keys and samples behind the figures of a study.
std::string facts_text(const DataStudy& study) {
  constexpr std::int64_t wanted_seeds = 5, wanted_keys = 50;
  const auto seeds = [](const Group& group) { return static_cast<std::int64_t>(group.runs.size()); };
  const auto keys = [](const Group& group) { return group.config().eval.keys; };
  std::vector<std::string> models;
  bool few_seeds = false, few_keys = false, batch_keys = false;
  for (const auto& group : study.groups) {
    const auto model = fmt::format("`{}`", group.config().model.name);
    if (std::find(models.begin(), models.end(), model) == models.end()) models.push_back(model);
    few_seeds |= seeds(group) < wanted_seeds;
    batch_keys |= keys(group) == 0;
    few_keys |= keys(group) > 0 && keys(group) < wanted_keys;
  }
  auto text =
      fmt::format("Data: {}, {:.0f} test samples. Model: {}. Seeds a group: {}. Keys a family: {}.", study.data,
                  *number_at(study.groups.front().runs.front()->result, "test_samples"), fmt::join(models, ", "),
                  range_over_groups(study, seeds), batch_keys ? "one for each batch" : range_over_groups(study, keys));
  if (few_seeds || few_keys)
    text += fmt::format(" Spreads over fewer than {} are rough.",
                        few_seeds && few_keys ? fmt::format("{} seeds and {} keys", wanted_seeds, wanted_keys)
                        : few_seeds           ? fmt::format("{} seeds", wanted_seeds)
                                              : fmt::format("{} keys", wanted_keys));
  return text;
}

// Largest difference between runs of one seed.
double noise_floor(const Group& group, const char* path) {
  double largest = 0.0;
  std::map<std::int64_t, std::vector<double>> by_seed;
  for (const auto* runs : {&group.runs, &group.repeats})
    for (const auto* run : *runs) by_seed[run->config.run.seed].push_back(*number_at(run->result, path));
  for (const auto& [seed, values] : by_seed) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    largest = std::max(largest, *high - *low);
  }
  return largest;
}

Section access_section(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  Section section{"Access by group", {}};
  section.blocks.emplace_back(Paragraph{facts_text(study)});
  section.blocks.emplace_back(access_table_of(study));
  add_figures(section, draw_runs(study, prefix, folder));
  return section;
}

Section settings_section(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  Section section{"What the settings do", {}};
  add_figures(section, draw_axes(study, prefix, folder));
  add_figures(section, draw_heat_maps(study, prefix, folder));
  return section;
}

Section published_section(const DataStudy& study, const std::string& source) {
  Section section{"Published figures", {}};
  if (auto table = published_table(study, source); !table.rows.empty()) section.blocks.emplace_back(std::move(table));
  for (const auto& group : study.groups)
    if (group.published.row && !group.published.differences.empty())
      section.blocks.emplace_back(Paragraph{
          fmt::format("{} bears the name of `{}` but is not compared with it, for it differs from the published "
                      "configuration: {}.",
                      group.label, group.published.row->name, fmt::join(group.published.differences, "; "))});
  return section;
}

Section keys_section(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  Section section{"Keys", {}};
  if (auto table = family_table(study)) section.blocks.emplace_back(std::move(*table));
  add_figures(section, draw_families(study, prefix, folder));
  std::vector<const RunRecord*> runs;
  std::vector<std::string> labels;
  for (const auto& group : study.groups)
    for (const auto* run : group.runs) {
      runs.push_back(run);
      labels.push_back(fmt::format("{}, seed {}", group.label, run->config.run.seed));
    }
  auto acceptance = acceptance_report(runs, labels, prefix, folder);
  if (acceptance.table) section.blocks.emplace_back(std::move(*acceptance.table));
  if (acceptance.figure) section.blocks.emplace_back(std::move(*acceptance.figure));
  return section;
}

Section attacks_section(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  Section section{"Attacks", {}};
  if (auto table = attack_table(study)) section.blocks.emplace_back(std::move(*table));
  add_figures(section, draw_attack_curves(study, prefix, folder));
  return section;
}

Section learning_section(const DataStudy& study, const std::string& prefix, PlotFolder& folder) {
  Section section{"Learning curves", {}};
  add_figures(section, draw_learning(study, prefix, folder));
  return section;
}

Section seeds_section(const DataStudy& study) {
  Section section{"Intervals over seeds", {interval_table(study)}};
  for (const auto& group : study.groups)
    if (!group.repeats.empty())
      section.blocks.emplace_back(Paragraph{
          fmt::format("{}: runs that repeat a seed ({}) are in trials.csv and not in the figures. Noise floor, the "
                      "largest difference between runs of one seed: {:.4f} with a correct key, {:.4f} without.",
                      group.label, group.repeats.size(), noise_floor(group, "correct_key.accuracy"),
                      noise_floor(group, "no_key.accuracy"))});
  return section;
}

// `suffix` ends the titles of the sections, and `prefix` begins the names of the figures.
void add_study(Document& document, const DataStudy& study, const PublishedTable& published, const std::string& prefix,
               const std::string& suffix, const std::filesystem::path& out, PlotFolder& folder) {
  const auto add = [&](Section section) {
    section.title += suffix;
    add_section(document, std::move(section));
  };
  add(access_section(study, prefix, folder));
  add(settings_section(study, prefix, folder));
  add(published_section(study, published.source));
  add(keys_section(study, prefix, folder));
  add(attacks_section(study, prefix, folder));
  add(learning_section(study, prefix, folder));
  add({"Best and worst runs", {extremes_table(study, out)}});
  add(seeds_section(study));
}

// The figures of the unfinished run that is right most often with a correct key, or those of the only run.
std::vector<KeyFigure> figures_of_open(const RunCollection& collection) {
  const auto correct = [](const RunRecord& run) { return number_at(run.last_evaluation, "correct_key.accuracy"); };
  const auto best = std::max_element(collection.runs.begin(), collection.runs.end(),
                                     [&](const auto& a, const auto& b) { return correct(a) < correct(b); });
  if (collection.runs.size() > 1 && !correct(*best)) return {};
  auto figures = key_figures(*best);
  if (collection.runs.size() > 1) figures.front().note += fmt::format(", of {}, the highest so far", best->name());
  return figures;
}

// Draws unfinished runs as far as they came, and the furthest ones where there are many.
void add_open_curves(Section& section, const RunCollection& collection, PlotFolder& folder) {
  std::vector<const RunRecord*> open;
  for (const auto& run : collection.runs)
    if (run.status != RunStatus::done && run.steps_done > 0) open.push_back(&run);
  std::stable_sort(open.begin(), open.end(),
                   [](const auto* a, const auto* b) { return a->steps_done > b->steps_done; });
  open.resize(std::min(open.size(), most_open_curves));
  for (std::size_t i = 0; i < open.size(); ++i)
    add_figures(section, draw_learning(*open[i], folder, fmt::format("open{}_", i + 1)));
}

Document describe_runs(const RunCollection& collection, const std::vector<DataStudy>& studies,
                       const PublishedTable& published, const std::filesystem::path& out, PlotFolder& folder) {
  std::size_t groups = 0;
  for (const auto& study : studies) groups += study.groups.size();
  Document document;
  document.title = collection.title;
  document.summary = fmt::format("{} in {}: {}. ", counted(static_cast<std::int64_t>(collection.runs.size()), "run"),
                                 groups == 1 ? "one group" : fmt::format("{} groups", groups), counts_text(collection));
  if (studies.empty())
    document.summary =
        fmt::format("{}, none of which has come to its end: {}. What they have reached stands below.",
                    counted(static_cast<std::int64_t>(collection.runs.size()), "run"), counts_text(collection));
  if (studies.empty()) document.figures = figures_of_open(collection);
  if (studies.size() == 1) {
    const auto& group = withholding_most(studies.front());
    document.figures = key_figures(group);
    if (groups > 1) document.figures.front().note += fmt::format(", of {}, which withholds most at worst", group.label);
    document.summary += study_summary(studies.front());
  }
  if (studies.size() > 1)
    document.summary += fmt::format(
        "They learned from {} different data sets. Accuracies on different data are not comparable, so each set has "
        "tables of its own.",
        studies.size());
  document.summary += " This is access conditioning of networks that are handed out, measured with what was tried.";
  for (std::size_t i = 0; i < studies.size(); ++i)
    add_study(document, studies[i], published, studies.size() > 1 ? fmt::format("data{}_", i + 1) : "",
              studies.size() > 1 ? ": " + studies[i].data : "", out, folder);
  if (auto table = open_runs_table(collection, out); !table.rows.empty()) {
    Section open{"Failed and unfinished runs", {std::move(table)}};
    add_open_curves(open, collection, folder);
    document.sections.push_back(std::move(open));
  }
  if (auto table = early_stop_table(collection, out); !table.rows.empty())
    document.sections.push_back({"Runs that stopped early", {std::move(table)}});
  if (!studies.empty()) {
    Section cost{"Cost", {}};
    add_cost(cost, collection);
    add_section(document, std::move(cost));
  }
  return document;
}

std::string run_summary(const RunRecord& run) {
  const auto& r = run.result;
  return fmt::format(
      "This network (`{}`, deny mode `{}`) is right on {:.3f} of {} test samples with a correct key, {:.3f} without "
      "one, {:.3f} with a wrong one on average. {} This is access conditioning of a network that is handed out, "
      "measured "
      "with what was tried.",
      run.config.model.name, run.config.deny.mode, *number_at(r, "correct_key.accuracy"),
      r.at("test_samples").get<std::int64_t>(), *number_at(r, "no_key.accuracy"), *number_at(r, "wrong_key.accuracy"),
      verdict_text_of(run));
}

Document describe_run(const RunCollection& collection, const std::vector<DataStudy>& studies,
                      const PublishedTable& published, const std::filesystem::path& out, PlotFolder& folder) {
  const auto& run = collection.runs.front();
  Document document;
  document.title = run.config.run.name.empty() ? collection.title : run.config.run.name;
  document.summary = run_summary(run);
  document.figures = key_figures(studies.front().groups.front());
  document.sections.push_back({"Access by key", {run_table(run)}});
  Section keys{"Keys", {}};
  add_figures(keys, draw_families(studies.front(), "", folder));
  add_section(document, std::move(keys));
  if (auto table = published_table(studies.front(), published.source); !table.rows.empty())
    document.sections.push_back({"Published figures", {std::move(table)}});
  Section learning{"Learning curves", {}};
  add_figures(learning, draw_learning(run, folder));
  add_section(document, std::move(learning));
  for (auto& section : diagnosis_of(run, out)) add_section(document, std::move(section));
  for (auto& section : attacks_of(run, out)) add_section(document, std::move(section));
  Section facts{"The run", {}};
  add_cost(facts, collection);
  facts.blocks.emplace_back(
      Paragraph{fmt::format("Data {}; configuration `{}`; weights `{}`.", studies.front().data, run.hash,
                            run.result.value("weights_sha256", std::string("not recorded")))});
  if (!run.reason.empty()) facts.blocks.emplace_back(Paragraph{fmt::format("It {}.", run.reason)});
  const auto differing = config_diff(Config{}, run.config, /*hashed_only=*/false);
  facts.blocks.emplace_back(
      Listing{"Settings that differ from the defaults", fmt::format("{}", fmt::join(differing, "\n"))});
  facts.blocks.emplace_back(Listing{"Configuration", to_toml(run.config)});
  add_section(document, std::move(facts));
  return document;
}

PublishedTable find_table(const std::filesystem::path& asked) {
  if (!asked.empty()) return load_published(asked);
  const auto found = find_published();
  return found ? load_published(*found) : PublishedTable{};
}

}  // namespace

WrittenReport write_report(const ReportOptions& options) {
  const auto published = find_table(options.published);
  const auto collection = collect_runs(options.directories);
  const auto studies = make_studies(collection.runs, published);
  PlotFolder folder(options.out);
  const bool single = collection.runs.size() == 1 && collection.damaged.empty() && studies.size() == 1;
  auto document = single ? describe_run(collection, studies, published, options.out, folder)
                         : describe_runs(collection, studies, published, options.out, folder);
  if (folder.gnuplot_missing() && !document.sections.empty()) {
    auto& blocks = document.sections.front().blocks;
    blocks.insert(blocks.begin(),
                  Paragraph{"Plots are missing: gnuplot is not installed; their data and commands lie in "
                            "plots/."});
  }
  document.refresh_seconds = options.refresh_seconds;
  document.footer = fmt::format(
      "Written by spankey {} (`spankey report`). Figures of single runs: `trials.csv`; of groups: "
      "`groups.csv`; data and commands of the plots: `plots/`.",
      program_version());
  write_durably(options.out / "trials.csv", trials_csv(collection));
  write_durably(options.out / "groups.csv", groups_csv(studies));
  write_durably(options.out / "report.md", to_markdown(document));
  write_durably(options.out / "index.html", to_html(document, options.out));
  return {collection.runs.size(), collection.damaged.size(), folder.gnuplot_missing()};
}

}  // namespace spankey
