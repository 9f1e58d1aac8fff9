#include "report/key_figures.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

#include "base/text.h"
#include "record/verdict.h"
#include "report/attack_section.h"

namespace spankey {
namespace {

std::string share_text(double share) {
  return fmt::format("{:.3f}", share);
}

std::string seeds_text(const Group& group) {
  const auto seeds = std::ssize(group.runs);
  return seeds == 1 ? std::string("of the test samples are right") : fmt::format("mean of {} seeds", seeds);
}

const RunRecord& worst_run(const Group& group) {
  return **std::max_element(group.runs.begin(), group.runs.end(), [](const auto* a, const auto* b) {
    return number_at(a->result, "verdict.worst.accuracy") < number_at(b->result, "verdict.worst.accuracy");
  });
}

std::string grade_of(const RunRecord& run) {
  return run.result.at("verdict").at("grade").get<std::string>();
}

KeyFigure open_figure(const RunRecord& run, const char* label, const char* path) {
  const auto value = number_at(run.last_evaluation, path);
  return {label, value ? share_text(*value) : "-",
          value ? fmt::format("after epoch {}, with one key", run.epochs_done) : "not evaluated so far"};
}

}  // namespace

std::vector<KeyFigure> key_figures(const Group& group) {
  const auto worst = judge_access(worst_run(group).result);
  std::vector<KeyFigure> figures{
      {"correct key", share_text(group.mean("correct_key.accuracy")), seeds_text(group)},
      {"no key", share_text(group.mean("no_key.accuracy")),
       fmt::format("always the commonest class: {}", share_text(worst.chance))},
      {"worst case", share_text(worst.worst.accuracy),
       fmt::format("{}; verdict: {}", worst.worst.text(), grade_of(group.least_withholding()))}};
  if (const auto price = price_of_entry(group); !price.empty())
    figures.push_back({"price of entry", price, "labelled images that recover 0.9 of what a correct key gives"});
  return figures;
}

std::vector<KeyFigure> key_figures(const RunRecord& open) {
  if (open.status == RunStatus::done) return {};
  return {open_figure(open, "correct key", "correct_key.accuracy"),
          open_figure(open, "no key", "no_key.accuracy"),
          open_figure(open, "no key, strip", "no_key.strip_accuracy"),
          {to_string(open.status), fmt::format("{} of {}", open.epochs_done, open.config.train.epochs),
           fmt::format("epochs evaluated, {} done{}{}", counted(open.steps_done, "step"),
                       open.reason.empty() ? "" : "; ", open.reason)}};
}

}  // namespace spankey
