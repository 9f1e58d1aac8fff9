// Says which run a diagnosis is about, and how much of it was examined.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "diagnose/diagnosed_run.h"

namespace spankey {

struct RunFacts {
  std::string config_hash;
  std::int64_t global_step = 0;
  std::string model, deny, inject;
  double gamma = 0.0;
  std::int64_t m = 0;
  std::string alpha;
  std::vector<std::int64_t> layers;
  std::vector<double> wrong_key_std;
  std::int64_t samples = 0, test_samples = 0, keys = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("config_hash", self.config_hash);
    visit("global_step", self.global_step);
    visit("model", self.model);
    visit("deny", self.deny);
    visit("inject", self.inject);
    visit("gamma", self.gamma);
    visit("m", self.m);
    visit("alpha", self.alpha);
    visit("layers", self.layers);
    visit("wrong_key_std", self.wrong_key_std);
    visit("samples", self.samples);
    visit("test_samples", self.test_samples);
    visit("keys", self.keys);
  }
};

RunFacts facts_of(const DiagnoseRun& run);
// Returns one sentence about them.
std::string summary_text(const RunFacts& facts);

}  // namespace spankey
