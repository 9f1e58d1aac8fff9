#include "config/law.h"

namespace spankey {
namespace {

constexpr double largest_sym_gamma =
    0.9;  // where sym limits gamma, and below which clamp reaches neither of its bounds

// The two laws differ only in the length, which the rescale of every key removes.
bool length_is_undone(const KeyConfig& key) {
  return key.rescale == Rescale::key && (key.alpha == AlphaLaw::gauss || key.alpha == AlphaLaw::sphere);
}

bool sym_is_clamp(const KeyConfig& key) {
  return key.inject == Inject::mul && key.multiplier == Multiplier::sym && key.gamma <= largest_sym_gamma;
}

bool gamma_is_idle(const KeyConfig& key) {
  return key.inject == Inject::mul && key.multiplier == Multiplier::sign && key.gamma != KeyConfig{}.gamma;
}

bool multiplier_is_idle(const KeyConfig& key) {
  return key.inject == Inject::add && key.multiplier != KeyConfig{}.multiplier;
}

}  // namespace

Config with_first_names(const Config& config) {
  auto same = config;
  if (length_is_undone(same.key)) same.key.alpha = AlphaLaw::gauss;
  if (sym_is_clamp(same.key)) same.key.multiplier = Multiplier::clamp;
  if (gamma_is_idle(same.key)) same.key.gamma = KeyConfig{}.gamma;
  if (multiplier_is_idle(same.key)) same.key.multiplier = KeyConfig{}.multiplier;
  return same;
}

std::vector<std::string> law_notes(const Config& config) {
  std::vector<std::string> notes;
  if (length_is_undone(config.key))
    notes.emplace_back(
        "key.alpha: under key.rescale = \"key\", \"gauss\" and \"sphere\" give the same keys, for the rescale undoes "
        "the "
        "length that tells them apart");
  if (sym_is_clamp(config.key))
    notes.emplace_back("key.multiplier: for key.gamma <= 0.9, \"sym\" and \"clamp\" are the same factor");
  if (gamma_is_idle(config.key)) notes.emplace_back("key.gamma: does nothing under key.multiplier = \"sign\"");
  if (multiplier_is_idle(config.key)) notes.emplace_back("key.multiplier: does nothing under key.inject = \"add\"");
  return notes;
}

}  // namespace spankey
