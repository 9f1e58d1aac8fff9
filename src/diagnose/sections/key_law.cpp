// Measures how alike valid keys are, beside what the law of their coefficients says.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include "diagnose/key_laws.h"
#include "diagnose/law_keys.h"
#include "diagnose/section.h"
#include "diagnose/section_text.h"

namespace spankey {
namespace {

struct KeyLawRow {
  double predicted = no_number, orthonormal_basis = no_number, measured = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("predicted", self.predicted);
    visit("orthonormal_basis", self.orthonormal_basis);
    visit("measured", self.measured);
  }
};

struct KeyLawFigures {
  std::vector<std::int64_t> layers;
  std::string alpha;
  std::int64_t m = 0, keys = 0;
  KeyLawRow pair_cosine, pair_cosine_sd, mean_cosine, mean_cosine_sd, mean_energy_share, effective_rank;
  double norm_relative_sd = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("layers", self.layers);
    visit("alpha", self.alpha);
    visit("m", self.m);
    visit("keys", self.keys);
    visit("pair_cosine", self.pair_cosine);
    visit("pair_cosine_sd", self.pair_cosine_sd);
    visit("mean_cosine", self.mean_cosine);
    visit("mean_cosine_sd", self.mean_cosine_sd);
    visit("mean_energy_share", self.mean_energy_share);
    visit("effective_rank", self.effective_rank);
    visit("norm_relative_sd", self.norm_relative_sd);
  }
};

// `coordinates` is (law_keys, m), those of valid keys in the frame of the slot.
KeyLawFigures key_law_figures(AlphaLaw alpha, const KeySlot& slot, const at::Tensor& coordinates) {
  const auto law = key_law(alpha, slot.gram), textbook = key_law(alpha, at::eye(slot.dimension(), at::kDouble));
  const auto found = measure_keys(coordinates, slot.frame.mv(slot.mean_direction));
  KeyLawFigures figures;
  figures.alpha = to_string(alpha);
  figures.m = slot.dimension();
  figures.keys = law_keys;
  figures.pair_cosine = {law.pair_cosine, textbook.pair_cosine, found.pair_cosine};
  figures.pair_cosine_sd = {law.pair_cosine_sd, textbook.pair_cosine_sd, found.pair_cosine_sd};
  figures.mean_cosine = {law.mean_cosine, textbook.mean_cosine, found.mean_cosine};
  figures.mean_cosine_sd = {law.mean_cosine_sd, textbook.mean_cosine_sd, found.mean_cosine_sd};
  figures.mean_energy_share = {law.mean_energy_share, textbook.mean_energy_share, found.mean_energy_share};
  figures.effective_rank = {law.effective_rank, textbook.effective_rank, found.effective_rank};
  figures.norm_relative_sd = found.norm_sd;
  return figures;
}

}  // namespace

Measured measure_key_law(DiagnoseRun& run, const AccessTables&) {
  const auto coordinates = over_valid_keys(
      run, [](const at::Tensor& key, const KeySlot& slot) { return key.to(at::kDouble).matmul(slot.frame.t())[0]; },
      [](const KeySlot& slot) { return slot.dimension(); });
  std::vector<KeyLawFigures> slots;
  for (std::size_t s = 0; s < coordinates.size(); ++s) {
    const auto& slot = run.space().slots()[s];
    slots.push_back(key_law_figures(run.config().key.alpha, slot, coordinates[s]));
    slots.back().layers = run.space().points_of(slot);
  }
  return {figures::to_json(slots), {}};
}

Section key_law_text(const nlohmann::json& json) {
  Section section{"How alike valid keys are", {}};
  for (const auto& slot : figures::from_json<std::vector<KeyLawFigures>>(json)) {
    auto table = figure_table(fmt::format("Layers {}, alpha {}.", list_text(slot.layers), slot.alpha),
                              {"valid keys", "predicted", "measured", "orthonormal basis"});
    const auto add = [&](const char* title, const KeyLawRow& row) {
      add_row(table,
              {title, number_text(row.predicted), number_text(row.measured), number_text(row.orthonormal_basis)});
    };
    add("cosine of two valid keys", slot.pair_cosine);
    add("its sd", slot.pair_cosine_sd);
    add("cosine to the mean direction", slot.mean_cosine);
    add("its sd", slot.mean_cosine_sd);
    add("energy on the mean direction", slot.mean_energy_share);
    add("effective rank", slot.effective_rank);
    section.blocks.emplace_back(std::move(table));
  }
  return section;
}

}  // namespace spankey
