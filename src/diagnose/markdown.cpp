#include "base/markdown.h"

#include <fmt/format.h>

#include <cmath>

#include "diagnose/diagnose.h"

namespace spankey {
namespace {

using Figures = nlohmann::json;

constexpr std::pair<const char*, const char*> view_titles[] = {{"class_logits", "class logits alone"},
                                                               {"as_shipped", "as shipped"}};

// Three or four digits that matter; "-" for what does not exist.
std::string num(const Figures& value) {
  if (!value.is_number()) return "-";
  const double v = value.get<double>();
  if (value.is_number_integer()) return value.dump();
  return v != 0 && (std::abs(v) < 1e-3 || std::abs(v) >= 1e5) ? fmt::format("{:.2e}", v) : fmt::format("{:.4g}", v);
}

std::string layers_of(const Figures& slot) {
  return slot.at("layers").dump();
}

// The first column names the row, the others hold figures.
MarkdownTable table_of(const std::vector<std::string>& titles) {
  std::vector<MarkdownTable::Column> columns;
  for (const auto& title : titles) columns.push_back({title, columns.empty() ? Align::left : Align::right});
  return MarkdownTable(columns);
}

std::string energy_text(const Figures& figures) {
  std::string text = "## Energy of wrong keys in the span\n\n";
  for (const auto& slot : figures.at("energy_split")) {
    const auto& predicted = slot.at("predicted");
    const auto& measured = slot.at("measured");
    auto table = table_of({fmt::format("layers {}, m {}, d {}", layers_of(slot), num(slot.at("m")), num(slot.at("d"))),
                           "predicted", "measured", "Chernoff bound"});
    table.row({"mean share", num(predicted.at("mean")), num(measured.at("mean")), ""});
    table.row({"sd", num(predicted.at("sd")), num(measured.at("sd")), ""});
    for (const auto& tail : slot.at("tail"))
      table.row({fmt::format("P(share >= {})", num(tail.at("share"))), num(tail.at("predicted")),
                 num(tail.at("measured")), num(tail.at("chernoff"))});
    text +=
        table.text() +
        fmt::format(
            "\n{} keys; Kolmogorov-Smirnov distance to the Beta law {}, p = {}. What the network sees of a valid key "
            "(key or multiplier - 1) lies in the span with {} of its energy.\n\n",
            num(slot.at("keys")), num(slot.at("ks").at("statistic")), num(slot.at("ks").at("p_value")),
            num(slot.at("valid_injection_share").at("mean")));
  }
  return text;
}

std::string key_law_text(const Figures& figures) {
  constexpr std::pair<const char*, const char*> rows[] = {
      {"pair_cosine", "cosine of two valid keys"},           {"pair_cosine_sd", "its sd"},
      {"mean_cosine", "cosine to the mean direction"},       {"mean_cosine_sd", "its sd"},
      {"mean_energy_share", "energy on the mean direction"}, {"effective_rank", "effective rank"}};
  std::string text = "## How alike valid keys are\n\n";
  for (const auto& slot : figures.at("key_law")) {
    auto table = table_of({fmt::format("layers {}, alpha {}", layers_of(slot), slot.at("alpha").get<std::string>()),
                           "predicted", "measured", "orthonormal basis"});
    for (const auto& [key, title] : rows) {
      const auto& row = slot.at(key);
      table.row({title, num(row.at("predicted")), num(row.at("measured")), num(row.at("orthonormal_basis"))});
    }
    text += table.text() + "\n";
  }
  return text;
}

std::string multiplier_text(const Figures& figures) {
  if (figures.at("multiplier").is_null()) return "";
  std::string text = "## The multiplier under wrong keys\n\n";
  for (const auto& slot : figures.at("multiplier")) {
    auto table =
        table_of({fmt::format("layers {}, {}, gamma {}, std {}", layers_of(slot),
                              slot.at("multiplier").get<std::string>(), num(slot.at("gamma")), num(slot.at("std"))),
                  "predicted", "measured"});
    const auto add = [&](const char* title, const char* key) {
      table.row({title, num(slot.at("predicted").at(key)), num(slot.at("measured").at(key))});
    };
    add("mean", "mean");
    add("sd", "sd");
    add("share at 0.1", "at_low");
    add("share at 2", "at_high");
    text += table.text() + "\n";
  }
  return text;
}

std::string absorption_text(const Figures& figures) {
  const auto& absorption = figures.at("absorption");
  std::string text = "## Absorption\n\n";
  auto table = table_of({"accuracy", "no key", "valid key", "wrong key", "relative loss without key"});
  for (const auto& [view, title] : view_titles)
    if (absorption.contains(view)) {
      const auto& row = absorption.at(view);
      table.row({title, num(row.at("no_key_accuracy")), num(row.at("valid_key_accuracy")),
                 num(row.at("wrong_key_accuracy")), num(row.at("relative_change_no_key"))});
    }
  const auto& drift = absorption.at("drift");
  text +=
      table.text() +
      fmt::format(
          "\nAbsorption index (1: the key makes no difference to what the network knows, 0: no better than the "
          "commonest class, {}): no key {}, wrong key {}.\n\nOutputs against those with a valid key: "
          "divergence {} bits without a key, {} with a wrong one; other answers {} and {}.\n\n",
          num(absorption.at("majority_rate")), num(absorption.at("index_no_key")),
          num(absorption.at("index_wrong_key")), num(drift.at("js_bits_no_key")), num(drift.at("js_bits_wrong_key")),
          num(drift.at("disagreement_no_key")), num(drift.at("disagreement_wrong_key")));
  return text;
}

std::string gradient_text(const Figures& figures) {
  std::string text = "## Where the margin looks\n\n";
  auto table = table_of({"gradient of the margin by the key", "index, mean", "median", "null mean", "median p",
                         "share on the mean direction", "null"});
  for (const auto& [view, title] : view_titles) {
    if (!figures.at("gradients").contains(view)) continue;
    for (const char* place : {"no_key", "valid_key", "wrong_key"})
      for (const auto& slot : figures.at("gradients").at(view).at(place)) {
        std::string where = place;
        where[where.find('_')] = ' ';
        table.row({fmt::format("{}, {}", title, where), num(slot.at("index").at("mean")), num(slot.at("median")),
                   num(slot.at("null_mean")), num(slot.at("p_value_median")),
                   num(slot.at("mean_direction_share").at("mean")), num(slot.at("mean_direction_null"))});
      }
  }
  text += table.text() +
          "\nIndex: energy per dimension in the span over that outside; 1 for a network that has learned nothing "
          "about the key.\n\n";
  if (figures.at("weights").empty()) return text;
  auto weights = table_of({"weights behind the key", "index", "p (low)", "p (high)"});
  for (const auto& row : figures.at("weights"))
    weights.row({fmt::format("layer {}, {}", num(row.at("layer")), row.at("parameter").get<std::string>()),
                 num(row.at("index")), num(row.at("p_low")), num(row.at("p_high"))});
  return text + weights.text() + "\n";
}

std::string change_text(const Figures& figures) {
  std::string text = "## Change of the margin\n\n";
  auto table = table_of({"from, to", "measured", "first order", "correlation", "path integral", "mean absolute error"});
  for (const auto& [view, title] : view_titles) {
    if (!figures.at("margin_change").contains(view)) continue;
    for (const auto& row : figures.at("margin_change").at(view))
      table.row({fmt::format("{}: {}, {}", title, row.at("from").get<std::string>(), row.at("to").get<std::string>()),
                 num(row.at("measured").at("mean")), num(row.at("first_order").at("mean")),
                 num(row.at("first_order").at("correlation")), num(row.at("path_integral").at("mean")),
                 num(row.at("path_integral").at("mean_absolute_error"))});
  }
  return text + table.text() + "\n";
}

std::string tail_table(const Figures& view, const std::string& title) {
  const auto& predicted = view.at("predicted");
  const auto& measured = view.at("measured");
  const auto& interval = measured.at("t_interval_over_keys");
  auto table = table_of({"error with a wrong key, " + title, "value"});
  table.row({"(a) Gaussian margin to the closest rival", num(predicted.at("gaussian"))});
  table.row({"(b) Gaussian scores through the Jacobian", num(predicted.at("jacobian_gaussian"))});
  table.row({"(c) Cantelli, of the linear model, from above", num(predicted.at("cantelli_high"))});
  table.row({"(c) Cantelli, of the linear model, from below", num(predicted.at("cantelli_low"))});
  table.row({"(d) Hoeffding, of the linear model, from above", num(predicted.at("hoeffding"))});
  table.row({"(e) measured", num(measured.at("error"))});
  table.row({"(e) 95 % interval over keys", fmt::format("{} to {}", num(interval[0]), num(interval[1]))});
  table.row({"(e) Gaussian fit to the measured margins", num(measured.at("gaussian_fit"))});
  const auto& validity = view.at("validity");
  const auto& span = view.at("span");
  const auto pair = [&](const char* key) {
    return fmt::format("{} predicted, {} measured", num(span.at(key).at("predicted")),
                       num(span.at(key).at("measured")));
  };
  return table.text() +
         fmt::format(
             "\nLinear model against the network under the same keys: mean |difference| of the margins {} ({} of their "
             "sd), correlation {}; over images, error predicted and measured {}, margin {}; {} of the observed "
             "activations change sign.\n\nMargin: {} without a key. Valid keys move it by {}; sd over valid keys {}; "
             "over "
             "wrong keys {}.\n\n",
             num(validity.at("mean_absolute_error")), num(validity.at("relative_error")),
             num(validity.at("correlation")), num(validity.at("image_correlation")),
             num(validity.at("image_margin_correlation")), num(validity.at("switched_share")),
             num(span.at("no_key_margin")), pair("valid_shift"), pair("valid_sd"), pair("wrong_sd"));
}

std::string tail_text(const Figures& figures) {
  std::string text = "## Errors under wrong keys\n\n";
  for (const auto& [view, title] : view_titles)
    if (figures.at("margin_tail").contains(view)) text += tail_table(figures.at("margin_tail").at(view), title);
  return text +
         "None of the predictions bounds the error of the network. (c) and (d) bound the linear model, and of it the "
         "margin "
         "to one rival.\n\n";
}

std::string separation_text(const Figures& figures) {
  std::string text = "## The key as access control\n\n";
  auto table = table_of({"valid against wrong keys", "AUROC", "EER", "FAR at FRR 1 %"});
  constexpr std::pair<const char*, const char*> kinds[] = {{"per_query", "one answer"},
                                                           {"per_query_no_key", "one answer, against no key"},
                                                           {"per_key", "mean over the samples"}};
  for (const auto& [score, values] : figures.at("separation").items())
    for (const auto& [kind, title] : kinds)
      if (values.contains(kind)) {
        const auto& row = values.at(kind);
        std::string name = score;
        for (auto& letter : name)
          if (letter == '_') letter = ' ';
        table.row({fmt::format("{}, {}", name, title), num(row.at("auroc")), num(row.at("eer")),
                   num(row.at("far_at_frr_0.01"))});
      }
  text += table.text() +
          "\nAUROC: how often a valid key scores above a wrong one (0.5: a coin, 1: always). EER: the share of errors "
          "where "
          "as many wrong keys are let in as valid ones are turned away. FAR at FRR 1 %: the share of wrong keys let in "
          "(false acceptance rate) when 1 % of the valid ones may be turned away (false rejection rate).\n\n";
  const auto& bias = figures.at("reject_bias");
  if (bias.is_null()) return text;
  return text +
         fmt::format(
             "Log-odds of rejecting: {} with a wrong key, {} without, {} with a valid one. Gradient flow at the same "
             "learning rate would have brought wrong keys to {} (growing like the logarithm of time: {} to {}); the "
             "optimiser was {}.\n\n",
             num(bias.at("measured_log_odds_wrong_key").at("mean")),
             num(bias.at("measured_log_odds_no_key").at("mean")),
             num(bias.at("measured_log_odds_valid_key").at("mean")), num(bias.at("gradient_flow")),
             num(bias.at("gradient_flow_low")), num(bias.at("gradient_flow_high")),
             bias.at("optimiser").get<std::string>());
}

std::string acceptance_text(const Figures& figures) {
  const auto& acceptance = figures.at("acceptance");
  std::string text = "## Nearness that opens\n\n";
  std::vector<std::string> header{"accuracy at cosine"};
  for (const auto& row : acceptance.front().at("profile"))
    header.push_back(fmt::format("{:.1f}", row.at("cosine").get<double>()));
  auto table = table_of(header);
  std::string sentences;
  for (const auto& [view, title] : view_titles) {
    if (!acceptance.contains(view)) continue;
    std::vector<std::string> cells{title};
    for (const auto& row : acceptance.at(view).at("profile"))
      cells.push_back(fmt::format("{:.3f}", row.at("accuracy").get<double>()));
    table.row(cells);
    const auto& row = acceptance.at(view);
    const auto beginning = fmt::format("Half the accuracy of a valid key, {}: ", title);
    sentences += row.at("c50") == 0.0
                     ? beginning + "any key.\n\n"
                     : fmt::format(
                           "{}cosine {}. A random key comes that near once in 2^{} tries: not a security level: "
                           "gradients bypass it.\n\n",
                           beginning, num(row.at("c50")), num(row.at("guess_bits")));
  }
  return text + table.text() + "\n" + sentences;
}

}  // namespace

std::string diagnosis_markdown(const Figures& figures) {
  const auto& run = figures.at("run");
  auto text = fmt::format(
      "# Diagnostics\n\n{}, deny {}, {} with gamma {}, m {}, layers {}; step {}; {} of {} test samples, {} valid and "
      "{} wrong keys; "
      "configuration {}.\n\n",
      run.at("model").get<std::string>(), run.at("deny").get<std::string>(), run.at("inject").get<std::string>(),
      num(run.at("gamma")), num(run.at("m")), run.at("layers").dump(), num(run.at("global_step")),
      num(run.at("samples")), num(run.at("test_samples")), num(run.at("keys")), num(run.at("keys")),
      run.at("config_hash").get<std::string>().substr(0, 8));
  for (const auto part : {absorption_text, tail_text, change_text, gradient_text, acceptance_text, separation_text,
                          energy_text, key_law_text, multiplier_text})
    text += part(figures);
  return text;
}

}  // namespace spankey
