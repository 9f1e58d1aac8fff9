// Makes one pass over the samples with every key. The parts of a diagnosis that look at answers share its tables.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "diagnose/diagnosed_run.h"

namespace spankey {

// The columns of a table are no key, then the valid keys, then the wrong keys.
struct AccessTables {
  std::int64_t keys = 0;
  std::vector<at::Tensor> margins;  // for each view (samples, 1 + 2 keys), float64, as the following
  at::Tensor max_probability;       // of the class logits' softmax
  at::Tensor energy;                // log-sum-exp of the class logits
  // Reject logit - log-sum-exp of the class logits, or the logit of the reject head. No columns where the network
  // cannot reject.
  at::Tensor reject_log_odds;
  // (samples, 2), without a key and with a wrong one, each against a valid one. The first is the divergence of the
  // outputs in bits. The second is 1 where the answers differ.
  at::Tensor divergence, disagreement;
  at::Tensor feature_energy;  // (samples) squared norm of the last features under a wrong key, plus 1
  at::Tensor switched;        // (samples) share of the observed activations whose sign a wrong key changes

  at::Tensor none(const at::Tensor& table) const { return table.select(1, 0); }         // (samples)
  at::Tensor valid(const at::Tensor& table) const { return table.narrow(1, 1, keys); }  // (samples, keys)
  at::Tensor wrong(const at::Tensor& table) const { return table.narrow(1, 1 + keys, keys); }
};

// Collective.
AccessTables measure_access(DiagnoseRun& run);

}  // namespace spankey
