// What a terminal shows of attack.json: the worst first, in as many columns as fit.
#include <fmt/ranges.h>

#include <algorithm>

#include "attack/attack_report.h"
#include "attack/attack_text.h"
#include "record/result.h"

namespace spankey {
namespace {

using nlohmann::json;

struct Line {
  std::string name = {}, access = {}, best = {}, shipped = {}, recovered = {}, gain = {}, remark = {};
};

std::string short_number(const json& value, const char* form = "{:.3f}") {
  return value.is_number() ? fmt::format(fmt::runtime(form), value.get<double>()) : "";
}

std::string short_spread(const json& spread) {
  const auto mean = short_number(spread.at("mean"));
  const auto sd = short_number(spread.value("sd", json()));
  return sd.empty() ? mean : fmt::format("{} +- {}", mean, sd);
}

Line line_of(const json& row) {
  const auto& access = row.at("access");
  const auto budget = row.at("budget_text").get<std::string>();
  Line line{.name = fmt::format("{:<5}{}{}", row.at("id").get<std::string>(), row.at("name").get<std::string>(),
                                budget == "-" ? "" : ", " + budget)};
  if (access.is_null()) {
    line.remark = "no outcome";
    return line;
  }
  line.access = short_spread(access);
  line.best = short_number(access.at("max"));
  line.shipped = short_number(row.at("accuracy").at("mean"));
  line.recovered = short_number(row.at("recovered"));
  if (const auto& gain = row.at("gain_over_scratch"); !gain.is_null())
    line.gain = short_number(gain.at("mean"), "{:+.3f}");
  if (!row.at("below_chance").is_null()) line.remark = row.at("below_chance").get<std::string>();
  return line;
}

std::vector<Line> lines_of(const json& report) {
  std::vector<Line> lines{{.name = "",
                           .access = "access",
                           .best = "best seed",
                           .shipped = "as shipped",
                           .recovered = "recovered",
                           .gain = "over scratch"}};
  for (const auto& [name, accuracy] : attack_references(report))
    if (!accuracy.is_null()) lines.push_back({.name = "     " + name, .access = short_spread(accuracy)});
  for (const auto& row : report.at("rows"))
    if (!row.at("owner").get<bool>()) lines.push_back(line_of(row));
  return lines;
}

std::string table_text(const std::vector<Line>& lines) {
  std::size_t width = 0;
  for (const auto& line : lines) width = std::max(width, line.name.size());
  std::string text;
  for (const auto& line : lines) {
    auto one = fmt::format("{:<{}}  {:<14}  {:>9}  {:>10}  {:>9}  {:>12}  {}", line.name, width, line.access, line.best,
                           line.shipped, line.recovered, line.gain, line.remark);
    one.erase(one.find_last_not_of(' ') + 1);
    text += one + "\n";
  }
  return text;
}

std::string not_run_text(const json& report) {
  std::vector<std::string> parts;
  for (const auto& [why, ids] : attacks_not_run(report))
    parts.push_back(fmt::format("{} ({})", fmt::join(ids, ", "), why));
  return parts.empty() ? "nothing of the suite" : fmt::format("{}", fmt::join(parts, "; "));
}

}  // namespace

std::string attack_screen(const json& report) {
  auto text = fmt::format("worst case: {}\nwithheld: {}\n\n{}\n{}\n", worst_case_text(report), withheld_text(report),
                          table_text(lines_of(report)), price_of_entry_text(report));
  if (const auto cost = number_at(report, "utility_cost"))
    text += fmt::format("utility cost: {:.3f}, what the vanilla twin gets more than a correct key\n", *cost);
  return text + fmt::format("not run: {}\n{}\n", not_run_text(report), attack_last_word);
}

}  // namespace spankey
