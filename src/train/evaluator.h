// Measures access: every sample exactly once for no key, for each correct key and for each wrong key.
#pragma once

#include <cstdint>

#include "dist/communicator.h"
#include "spankey/key_maker.h"
#include "train/access_report.h"
#include "train/experiment.h"

namespace spankey {

class Evaluator {
 public:
  Evaluator(const Experiment& experiment, const KeyMaker& keys, Communicator& communicator);

  // `keys` > 0: that many correct and wrong keys, each tried on all samples. 0: a fresh key of each kind for every
  // batch of train.global_batch samples, as the reference implementation does. Collective; counts are integers summed
  // over ranks, so every rank returns the same figures for any number of ranks.
  AccessReport evaluate(std::int64_t keys, bool with_train_split) const;

 private:
  SplitAccess evaluate_split(const Split& split, std::int64_t samples, Augment augment, std::int64_t keys) const;

  const Experiment& experiment_;
  const KeyMaker& keys_;
  Communicator& communicator_;
};

}  // namespace spankey
