// Measures access: every sample exactly once for no key, for each correct key and for each wrong key.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "dist/communicator.h"
#include "dist/stop_rounds.h"
#include "spankey/keys/key_family.h"
#include "spankey/keys/key_maker.h"
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
  StopRounds::Wish stop_wish = shutdown::signal_number;
  std::function<void(double share)> progress = nullptr;  // of this rank's work, after each piece of it
};

// A report with all the places that the request will fill, and figures that mean nothing.
AccessReport example_report(const EvaluationRequest& request, bool can_reject);

class Evaluator {
 public:
  Evaluator(const Experiment& experiment, const KeyMaker& keys, Communicator& communicator);

  // `keys` of each kind, with the families of eval.families.
  EvaluationRequest request(std::int64_t keys, bool with_train_split) const;

  // Error(bad_input) for what evaluate() could not do, known without any of its work: before a training that ends with
  // it.
  void require_possible(const EvaluationRequest& request) const;

  // Collective; counts are integers summed over ranks, so every rank returns the same figures for any number of ranks.
  // Throws Interrupted where any rank has been asked to stop.
  AccessReport evaluate(const EvaluationRequest& request) const;
  AccessReport evaluate(std::int64_t keys, bool with_train_split) const {
    return evaluate(request(keys, with_train_split));
  }

  // The largest absolute logit under a correct key, of some test samples; NaN where one is. Not collective.
  double largest_logit() const;

 private:
  struct SplitWork {
    const Split& split;
    std::span<const std::int64_t> subset;  // the samples of the split; empty: all
    std::int64_t samples() const { return subset.empty() ? split.size : static_cast<std::int64_t>(subset.size()); }
    Augment augment;
  };
  std::vector<SplitWork> splits(bool with_train_split) const;
  class Plan;
  Plan plan(const SplitWork& work, const EvaluationRequest& request) const;
  SplitAccess evaluate_split(const SplitWork& work, const EvaluationRequest& request,
                             const std::function<void()>& after_each_piece) const;

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
