#include <fmt/ranges.h>

#include <cctype>
#include <utility>

#include "attack/attack_report.h"
#include "attack/attack_text.h"
#include "base/version.h"

namespace spankey {
namespace {

using nlohmann::json;

std::string number_text(const json& value, const char* form = "{:.4f}") {
  return value.is_null() ? "-" : fmt::format(fmt::runtime(form), value.get<double>());
}

std::string spread_text(const json& spread, const char* form = "{:.4f}") {
  if (spread.is_null()) return "-";
  const auto mean = number_text(spread.at("mean"), form);
  return spread.at("sd").is_null() ? mean : fmt::format("{} ± {}", mean, number_text(spread.at("sd"), form));
}

std::string gain_text(const json& gain) {
  if (gain.is_null()) return "-";
  const auto mean = number_text(gain.at("mean"), "{:+.4f}");
  return gain.at("se").is_null() ? mean : fmt::format("{} ± {}", mean, number_text(gain.at("se")));
}

// "10 labels, 1 query", or "nothing".
std::string spent_text(const json& cost) {
  std::string text;
  for (const auto& [what, one] : {std::pair("labels", "label"), std::pair("unlabelled", "unlabelled"),
                                  std::pair("queries", "query"), std::pair("leaked", "leaked")})
    if (const double spent = cost.value(what, 0.0); spent > 0)
      text += fmt::format("{}{:.0f} {}", text.empty() ? "" : ", ", spent, spent == 1 ? one : what);
  return text.empty() ? "nothing" : text;
}

std::string capitalised(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

Table reference_table(const json& report) {
  Table table{.caption =
                  "What the rows are held against, mean ± standard deviation over keys, seeds of a twin or attack "
                  "seeds. Stripped: the rejection ignored.",
              .columns = {{"", false}, {"accuracy"}},
              .rows = {}};
  for (const auto& [name, accuracy] : attack_references(report))
    table.rows.push_back({{name}, {accuracy.is_null() ? "not known" : spread_text(accuracy)}});
  return table;
}

std::string words_of(const json& words) {
  return words.empty() ? "nothing" : fmt::format("{}", fmt::join(words.get<std::vector<std::string>>(), ", "));
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
                          {"seconds"},
                          {"", false, "accuracy over the class logits significantly below the commonest class"}},
              .rows = {}};
  for (const auto& row : report.at("rows")) {
    const auto& access = row.at("access");
    const bool measured = !access.is_null();
    table.rows.push_back({{row.at("id").get<std::string>()},
                          {row.at("name").get<std::string>()},
                          {words_of(row.at("knows"))},
                          {row.at("budget_text").get<std::string>()},
                          {spread_text(access)},
                          {measured ? number_text(access.at("max")) : "-"},
                          {spread_text(row.at("accuracy"))},
                          {number_text(row.at("recovered"), "{:.3f}")},
                          {gain_text(row.at("gain_over_scratch"))},
                          {fmt::format("{}", measured ? access.at("seeds").get<int>() : 0)},
                          {spent_text(row.at("cost"))},
                          {measured ? number_text(row.at("cost").at("seconds"), "{:.1f}") : "-"},
                          {row.at("below_chance").is_null() ? "" : row.at("below_chance").get<std::string>()}});
  }
  return table;
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

Table tracing_table(const json& report) {
  Table table{.caption =
                  "Whose keys the owner finds in what colluders make of theirs (docs/keys.md). z: mean score of the "
                  "colluders, mean ± standard deviation over coalitions; above the threshold a user is named. Also "
                  "repeated coordinates name him. Innocents: named over all coalitions, which may happen once in a "
                  "thousand.",
              .columns = {{"colluders' key", false},
                          {"keys"},
                          {"access"},
                          {"z"},
                          {"smallest z"},
                          {"threshold"},
                          {"colluders named"},
                          {"innocents named"},
                          {"users"},
                          {"coalitions"}},
              .rows = {}};
  for (const auto& row : report.at("rows")) {
    const auto& traced = row.at("traced");
    if (traced.is_null()) continue;
    table.rows.push_back({{row.at("budget").at("variant").get<std::string>()},
                          {fmt::format("{}", row.at("budget").at("leaked").get<int>())},
                          {spread_text(row.at("access"))},
                          {spread_text(traced.at("z"), "{:.1f}")},
                          {number_text(traced.at("smallest_z"), "{:.1f}")},
                          {number_text(traced.at("z_threshold"), "{:.1f}")},
                          {number_text(traced.at("colluders_named").at("mean"), "{:.2f}")},
                          {number_text(traced.at("innocents_named"), "{:.0f}")},
                          {fmt::format("{}", traced.at("users").get<int>())},
                          {fmt::format("{}", traced.at("z").at("seeds").get<int>())}});
  }
  return table;
}

Section limits(const json& report) {
  std::string left_out, failed;
  for (const auto& [why, ids] : attacks_not_run(report))
    left_out += fmt::format("{}{} ({})", left_out.empty() ? "" : "; ", fmt::join(ids, ", "), why);
  for (const auto& row : report.at("rows"))
    for (const auto& why : row.at("failures"))
      failed += fmt::format("{}{}, {}: {}", failed.empty() ? "" : "; ", row.at("id").get<std::string>(),
                            row.at("budget_text").get<std::string>(), why.get<std::string>());
  Section section{.title = "What was not tried", .blocks = {}};
  section.blocks.emplace_back(
      Paragraph{fmt::format("Not run: {}.", left_out.empty() ? "nothing of the suite" : left_out)});
  if (!failed.empty()) section.blocks.emplace_back(Paragraph{fmt::format("Ended without an outcome: {}.", failed)});
  section.blocks.emplace_back(Paragraph{
      "The suite has no other architecture than the stolen one, and no recovery of an order but by the classes of its "
      "features. A row that fails proves nothing about attacks that are not in it."});
  return section;
}

}  // namespace

Document attack_document(const json& report) {
  Document document{
      .title = fmt::format("Attacks on {}, deny mode {}", report.at("model").get<std::string>(),
                           report.at("deny").get<std::string>()),
      .summary = fmt::format("Worst case: {}. Withheld: {}.", worst_case_text(report), withheld_text(report)),
      .footer =
          fmt::format("{} Written by spankey {} (`spankey attack`, preset {}). All figures stand in `attack.json`; "
                      "`docs/attacks.md` explains them.",
                      attack_last_word, program_version(), report.at("preset").get<std::string>()),
      .sections = {}};
  document.sections.push_back(
      {"Price of entry",
       {Paragraph{capitalised(price_of_entry_text(report)) + "."}, within_table(report), reference_table(report)}});
  document.sections.push_back({"All rows", {rows_table(report)}});
  if (auto tracing = tracing_table(report); !tracing.rows.empty())
    document.sections.push_back({"Tracing of colluders", {std::move(tracing)}});
  document.sections.push_back(limits(report));
  return document;
}

}  // namespace spankey
