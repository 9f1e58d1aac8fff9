#include <fmt/format.h>

#include "attack/attack_report.h"

namespace spankey {
namespace {

using nlohmann::json;

std::string number_text(const json& value, const char* form = "{:.4f}") {
  return value.is_null() ? "-" : fmt::format(fmt::runtime(form), value.get<double>());
}

std::string spread_text(const json& spread) {
  if (spread.is_null()) return "-";
  const auto mean = number_text(spread.at("mean"));
  return spread.at("sd").is_null() ? mean : fmt::format("{} ± {}", mean, number_text(spread.at("sd")));
}

std::string gain_text(const json& gain) {
  if (gain.is_null()) return "-";
  const auto mean = number_text(gain.at("mean"), "{:+.4f}");
  return gain.at("se").is_null() ? mean : fmt::format("{} ± {}", mean, number_text(gain.at("se")));
}

// "10 labels, 25600 queries", or "nothing".
std::string spent_text(const json& cost) {
  std::string text;
  for (const char* what : {"labels", "unlabelled", "queries", "leaked"})
    if (const double spent = cost.value(what, 0.0); spent > 0)
      text += fmt::format("{}{:.0f} {}", text.empty() ? "" : ", ", spent, what);
  return text.empty() ? "nothing" : text;
}

Table rows_table(const json& report) {
  Table table{.caption =
                  "Access is the accuracy over the class logits where the attacker holds the network, and the "
                  "accuracy as shipped otherwise: mean ± standard deviation over attack seeds, and the best "
                  "seed beside it. Recovered is the share of what a valid key gives above chance. Gain is "
                  "access minus that of training from scratch on the same images, mean ± standard error.",
              .columns = {{"id", false},
                          {"attack", false},
                          {"knows", false},
                          {"budget", false},
                          {"access"},
                          {"best"},
                          {"as shipped"},
                          {"recovered"},
                          {"gain over scratch"},
                          {"seeds"},
                          {"spent", false},
                          {"seconds"}},
              .rows = {}};
  for (const auto& row : report.at("rows")) {
    const auto& access = row.at("access");
    const bool measured = !access.is_null();
    table.rows.push_back({{row.at("id").get<std::string>()},
                          {row.at("name").get<std::string>()},
                          {row.at("knows").get<std::string>()},
                          {row.at("budget_text").get<std::string>()},
                          {spread_text(access)},
                          {measured ? number_text(access.at("max")) : "-"},
                          {spread_text(row.at("accuracy"))},
                          {number_text(row.at("recovered"), "{:.3f}")},
                          {gain_text(row.at("gain_over_scratch"))},
                          {fmt::format("{}", measured ? access.at("seeds").get<int>() : 0)},
                          {spent_text(row.at("cost"))},
                          {measured ? number_text(row.at("cost").at("seconds"), "{:.1f}") : "-"}});
  }
  return table;
}

std::string price_text(const json& price, const char* what) {
  if (price.is_null()) return fmt::format("no number of {} that was tried", what);
  return fmt::format("{:.0f} {} ({}, {})", price.at(what).get<double>(), what, price.at("id").get<std::string>(),
                     price.at("budget_text").get<std::string>());
}

Paragraph price_paragraph(const json& report) {
  const auto& price = report.at("price_of_entry");
  std::string text =
      report.at("correct").is_null()
          ? "Price of entry: not known, since nothing tells what a valid key gives."
          : fmt::format("Price of entry, for 0.9 of what a valid key gives above chance: {}; {}; {}.",
                        price_text(price.at("labels"), "labels"), price_text(price.at("queries"), "queries"),
                        price_text(price.at("leaked"), "leaked"));
  return {text};
}

std::string summary_text(const json& report) {
  const auto& worst = report.at("worst_case");
  if (worst.is_null()) return "Worst case: no attack was run.";
  const auto first = fmt::format("Worst case: {} by {} ({}, {}), best seed {}.", number_text(worst.at("access")),
                                 worst.at("id").get<std::string>(), worst.at("name").get<std::string>(),
                                 worst.at("budget_text").get<std::string>(), number_text(worst.at("max")));
  if (report.at("withheld").is_null()) return first + " Withheld: not known, nothing tells what a valid key gives.";
  return fmt::format("{} Withheld: {} = correct key {} - worst case.", first, number_text(report.at("withheld")),
                     number_text(report.at("correct")));
}

Table within_table(const json& report) {
  Table table{.caption = "The worst case among the rows that need at most so many labelled images and no valid key.",
              .columns = {{"labels"}, {"access"}, {"best"}, {"attack", false}, {"budget", false}},
              .rows = {}};
  for (const auto& row : report.at("worst_case_within"))
    table.rows.push_back({{number_text(row.at("labels"), "{:.0f}")},
                          {number_text(row.at("access"))},
                          {number_text(row.at("max"))},
                          {fmt::format("{} {}", row.at("id").get<std::string>(), row.at("name").get<std::string>())},
                          {row.at("budget_text").get<std::string>()}});
  return table;
}

Section limits(const json& report) {
  std::string left_out, failed;
  for (const auto& one : report.at("not_run"))
    left_out += fmt::format("{}{} ({})", left_out.empty() ? "" : "; ", one.at("id").get<std::string>(),
                            one.at("why").get<std::string>());
  for (const auto& row : report.at("rows"))
    for (const auto& why : row.at("failures"))
      failed += fmt::format("{}{}, {}: {}", failed.empty() ? "" : "; ", row.at("id").get<std::string>(),
                            row.at("budget_text").get<std::string>(), why.get<std::string>());
  Section section{.title = "What was not tried", .blocks = {}};
  section.blocks.emplace_back(
      Paragraph{fmt::format("Not run: {}.", left_out.empty() ? "nothing of the suite" : left_out)});
  if (!failed.empty()) section.blocks.emplace_back(Paragraph{fmt::format("Ended without an outcome: {}.", failed)});
  section.blocks.emplace_back(Paragraph{
      "The suite has no tracing of colluders, no augmentation by the thief and no other architecture than the stolen "
      "one. A row that fails proves nothing about attacks that are not in it."});
  return section;
}

}  // namespace

Document attack_document(const json& report) {
  Document document{.title = fmt::format("Attacks on {}, deny mode {}", report.at("model").get<std::string>(),
                                         report.at("deny").get<std::string>()),
                    .summary = summary_text(report),
                    .footer = "This is access conditioning: it decides what is convenient, not what is possible.",
                    .sections = {}};
  document.sections.push_back({"Price of entry", {price_paragraph(report), within_table(report)}});
  document.sections.push_back({"All rows", {rows_table(report)}});
  document.sections.push_back(limits(report));
  return document;
}

}  // namespace spankey
