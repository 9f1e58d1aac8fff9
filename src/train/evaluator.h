// Measures access: every sample exactly once for no key, for each correct key and for each wrong key.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "spankey/key_family.h"
#include "spankey/key_maker.h"
#include "train/access_report.h"
#include "train/experiment.h"

namespace spankey {

struct EvaluationRequest {
  // > 0: that many keys of each kind, each tried on all samples. 0: a fresh key of each kind for every batch of
  // train.global_batch samples, as the reference implementation does.
  std::int64_t keys = 0;
  bool with_train_split = false;
  std::vector<const KeyFamily*> families = {&gaussian_family()};  // the first one is wrong_key of the result
  std::vector<double> norms;  // of valid and Gaussian keys, after the rescale, of a sweep beside the rest
};

class Evaluator {
 public:
  Evaluator(const Experiment& experiment, const KeyMaker& keys, Communicator& communicator);

  // Collective; counts are integers summed over ranks, so every rank returns the same figures for any number of ranks.
  AccessReport evaluate(const EvaluationRequest& request) const;
  // With the families of eval.families.
  AccessReport evaluate(std::int64_t keys, bool with_train_split) const;

 private:
  // `subset`: the samples of the split; empty: all.
  SplitAccess evaluate_split(const Split& split, std::span<const std::int64_t> subset, Augment augment,
                             const EvaluationRequest& request) const;

  // Keys of one kind, by index, each serving all `rows` rows of a batch.
  struct Series {
    std::int64_t keys;
    std::function<Injection(std::int64_t key, std::int64_t rows)> make;
  };
  // No key, correct keys, each family, then correct and Gaussian keys of each norm. `keys`: of each kind.
  std::vector<Series> series(std::int64_t keys, const EvaluationRequest& request) const;
  void add_saturation(AccessReport& report, std::int64_t keys) const;

  const Experiment& experiment_;
  const KeyMaker& keys_;
  Communicator& communicator_;
};

}  // namespace spankey
