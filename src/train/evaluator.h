// Measures access. Every sample is counted exactly once for no key, for each correct key and for each wrong key.
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
  // If > 0, so many keys of each kind are each tried on all samples. If 0, every batch of train.global_batch samples
  // gets a fresh key of each kind, as in the reference implementation.
  std::int64_t keys = 0;
  bool with_train_split = false;
  bool with_valid_keys = true;  // false where the basis is unknown: the report then has no correct key
  std::vector<const KeyFamily*> families = {&gaussian_family()};  // the first one is wrong_key of the result
  std::vector<double> norms;  // valid and Gaussian keys are also tried times each of these, after the rescale
  StopRounds::Wish stop_wish = shutdown::signal_number;
  std::function<void(double share)> progress = nullptr;  // called with this rank's share after each piece of its work
};

// Returns a report with every field that the request will fill. Its figures mean nothing.
AccessReport example_report(const EvaluationRequest& request, bool can_reject);

class Evaluator {
 public:
  Evaluator(const Experiment& experiment, const KeyMaker& keys, Communicator& communicator);

  // Returns a request for `keys` keys of each kind, with the families of eval.families.
  EvaluationRequest request(std::int64_t keys, bool with_train_split) const;

  // Throws Error(bad_input) for what evaluate() could not do. It does none of the work, so that a training can call it
  // before it starts.
  void require_possible(const EvaluationRequest& request) const;

  // Collective. Counts are integers summed over ranks, so every rank returns the same figures for any number of ranks.
  // Throws Interrupted where any rank has been asked to stop.
  AccessReport evaluate(const EvaluationRequest& request) const;
  AccessReport evaluate(std::int64_t keys, bool with_train_split) const {
    return evaluate(request(keys, with_train_split));
  }

  // The largest absolute logit under a correct key over some test samples. NaN where one of them is. Not collective.
  double largest_logit() const;

 private:
  struct SplitWork {
    const Split& split;
    std::span<const std::int64_t> subset;  // the samples of the split, empty for all
    std::int64_t samples() const { return subset.empty() ? split.size : static_cast<std::int64_t>(subset.size()); }
    Augment augment;
  };
  std::vector<SplitWork> splits(bool with_train_split) const;
  class Plan;
  Plan plan(const SplitWork& work, const EvaluationRequest& request) const;
  SplitAccess evaluate_split(const SplitWork& work, const EvaluationRequest& request,
                             const std::function<void()>& after_each_piece) const;

  // Keys of one kind, by index. Each serves all `rows` rows of a batch.
  struct Series {
    std::int64_t keys;
    std::function<Injection(std::int64_t key, std::int64_t rows)> make;
  };
  // Returns no key, correct keys, each family, then correct and Gaussian keys of each norm. `keys` is the number of
  // each kind.
  std::vector<Series> series(std::int64_t keys, const EvaluationRequest& request) const;
  void add_saturation(AccessReport& report, std::int64_t keys) const;

  const Experiment& experiment_;
  const KeyMaker& keys_;
  Communicator& communicator_;
};

}  // namespace spankey
