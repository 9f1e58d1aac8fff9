#include "diagnose/run_facts.h"

#include <fmt/format.h>

#include "diagnose/section_text.h"

namespace spankey {

RunFacts facts_of(const DiagnoseRun& run) {
  const auto& config = run.config();
  RunFacts facts;
  facts.config_hash = run.experiment().hash;
  facts.global_step = run.cursor().global_step;
  facts.model = config.model.name;
  facts.deny = config.deny.mode;
  facts.inject = to_string(config.key.inject);
  facts.gamma = config.key.gamma;
  facts.m = config.key.m;
  facts.alpha = to_string(config.key.alpha);
  facts.layers = config.key.layers;
  facts.wrong_key_std = run.wrong_std();
  facts.samples = run.samples();
  facts.test_samples = run.experiment().dataset->test().size;
  facts.keys = run.key_count();
  return facts;
}

std::string summary_text(const RunFacts& facts) {
  return fmt::format(
      "{}, deny {}, {} with gamma {}, m {}, layers {}; step {}; {} of {} test samples, {} valid and {} wrong keys; "
      "configuration {}.",
      facts.model, facts.deny, facts.inject, number_text(facts.gamma), facts.m, list_text(facts.layers),
      facts.global_step, facts.samples, facts.test_samples, facts.keys, facts.keys, facts.config_hash.substr(0, 8));
}

}  // namespace spankey
