// Measures how near a key must come to a valid one to open the network. It gives accuracy by cosine, with the rest of
// the key random.
#include "spankey/keys/acceptance.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <span>

#include "base/statistics.h"
#include "base/stream.h"
#include "diagnose/section.h"
#include "diagnose/section_text.h"

namespace spankey {
namespace {

constexpr std::int64_t cosine_levels = 11;  // 0, 0.1, ..., 1
constexpr std::int64_t profile_keys = 8;    // at most, for each level

double cosine_of(std::int64_t level) {
  return static_cast<double>(level) / (cosine_levels - 1);
}

struct AcceptanceRow {
  double cosine = no_number, accuracy = no_number, min = no_number, max = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("cosine", self.cosine);
    visit("accuracy", self.accuracy);
    visit("min", self.min);
    visit("max", self.max);
  }
};

struct AcceptanceFigures {
  std::vector<AcceptanceRow> profile;
  std::int64_t keys_per_level = 0;
  double c50 = no_number, guess_bits = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("profile", self.profile);
    visit("keys_per_level", self.keys_per_level);
    visit("c50", self.c50);
    visit("guess_bits", self.guess_bits);
  }
};

// Returns a key of the same norm with the given cosine to `key` (1, d), otherwise random.
at::Tensor key_at_cosine(const DiagnoseRun& run, const at::Tensor& key, double cosine, std::int64_t index,
                         std::size_t slot) {
  at::Tensor noise = at::empty({1, key.size(1)}, at::kFloat);
  // This is epoch 1, because epoch 0 has the draws of the tail prediction.
  Stream({.seed = run.seed(),
          .purpose = Purpose::diagnose,
          .epoch = 1,
          .sample = static_cast<std::uint64_t>(index),
          .layer = static_cast<std::uint32_t>(slot)})
      .fill_normal(std::span(noise.mutable_data_ptr<float>(), static_cast<std::size_t>(noise.numel())));
  const at::Tensor k = key.to(at::kDouble), norm = k.norm();
  at::Tensor across = noise.to(at::kDouble);
  across = across - across.mm(k.t()) / norm.square() * k;
  return (cosine * k + std::sqrt(1 - cosine * cosine) * norm * across / across.norm()).to(at::kFloat);
}

// Returns (views, levels, keys).
at::Tensor accuracy_by_cosine(DiagnoseRun& run, std::int64_t keys) {
  const at::NoGradGuard no_grad;
  const auto views = static_cast<std::int64_t>(run.views().size());
  at::Tensor counts = at::zeros({views, cosine_levels, keys}, at::kLong);
  run.each_batch("acceptance profile", [&](const DiagnoseRun::Batch& batch) {
    for (std::int64_t level = 0; level < cosine_levels; ++level)
      for (std::int64_t i = 0; i < keys; ++i) {
        run.leave_if_asked();
        std::vector<at::Tensor> mixed;
        for (std::size_t s = 0; s < run.valid(i).size(); ++s)
          mixed.push_back(key_at_cosine(run, run.valid(i)[s], cosine_of(level), level * keys + i, s));
        const auto output = run.model().forward(batch.x, run.space().injection(mixed));
        for (std::int64_t v = 0; v < views; ++v) {
          const auto& judge = run.views()[static_cast<std::size_t>(v)].judge;
          counts[v][level][i] += judge.margin(judge.scores(output), batch.labels).gt(0).sum();
        }
      }
  });
  run.share(counts);
  return counts.to(at::kDouble) / static_cast<double>(run.samples());
}

// `accuracy` is (levels, keys).
AcceptanceFigures acceptance_figures(const at::Tensor& accuracy, std::int64_t width) {
  AcceptanceFigures figures;
  AcceptanceProfile profile;
  for (std::int64_t level = 0; level < cosine_levels; ++level) {
    const auto spread = summarise(to_doubles(accuracy[level]));
    profile.cosines.push_back(cosine_of(level));
    profile.accuracy.push_back(spread.mean);
    figures.profile.push_back({cosine_of(level), spread.mean, spread.min, spread.max});
  }
  figures.keys_per_level = accuracy.size(1);
  figures.c50 = half_accept_cosine(profile);
  figures.guess_bits = guess_bits(figures.c50, width);
  return figures;
}

std::string opening_text(const char* view, const AcceptanceFigures& figures) {
  const auto beginning = fmt::format("Half the accuracy of a valid key, {}: ", view);
  if (figures.c50 == 0.0) return beginning + "any key.";
  return fmt::format(
      "{}cosine {}. A random key comes that near once in 2^{} tries: not a security level: gradients bypass it.",
      beginning, number_text(figures.c50), number_text(figures.guess_bits));
}

}  // namespace

Measured measure_acceptance(DiagnoseRun& run, const AccessTables&) {
  const at::Tensor accuracy = accuracy_by_cosine(run, std::min(run.key_count(), profile_keys));
  ByView<AcceptanceFigures> views;
  for (std::size_t v = 0; v < run.views().size(); ++v)
    views.set(run.views()[v].name, acceptance_figures(accuracy[static_cast<std::int64_t>(v)], run.space().width()));
  Plot plot(section_plot_height);
  plot.command(
      "set xlabel 'cosine to a valid key'\nset ylabel 'accuracy (mean, worst and best key)'\nset yrange [0:1.02]\n"
      "set key right bottom");
  int style = 0;
  views.each([&](const char* title, const AcceptanceFigures& figures) {
    PlotBlock curve;
    for (const auto& row : figures.profile) curve.push_back({row.cosine, row.accuracy, row.min, row.max});
    plot.curve(std::move(curve),
               fmt::format("using 1:2:3:4 with yerrorlines lw 2 dt {} pt {} lc rgb 'black' title '{}'", style + 1,
                           style + 6, title));
    ++style;
  });
  plot.end_curves();
  return {figures::to_json(views),
          {{"acceptance", "Accuracy by nearness to a valid key",
            "The rest of the key is random. Not a security level: gradients bypass it.", std::move(plot)}}};
}

Section acceptance_text(const nlohmann::json& json) {
  const auto views = figures::from_json<ByView<AcceptanceFigures>>(json);
  if (!views.class_logits) return {};
  std::vector<std::string> titles{"accuracy at cosine"};
  for (const auto& row : views.class_logits->profile) titles.push_back(fixed_text(row.cosine, 1));
  auto table = figure_table("Accuracy with keys that have this cosine to a valid one, mean over keys.", titles);
  std::vector<Block> sentences;
  views.each([&](const char* title, const AcceptanceFigures& figures) {
    std::vector<std::string> cells{title};
    for (const auto& row : figures.profile) cells.push_back(fixed_text(row.accuracy, 3));
    add_row(table, cells);
    sentences.emplace_back(Paragraph{opening_text(title, figures)});
  });
  Section section{"Nearness that opens", {std::move(table)}};
  std::move(sentences.begin(), sentences.end(), std::back_inserter(section.blocks));
  return section;
}

}  // namespace spankey
