// What an attacker is handed: nothing but what Attack::knows says he knows, which makes that column of every table
// true. Whatever he asks for beyond it is a programmer's mistake and ends the program.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "attack/attack.h"
#include "attack/attacked_run.h"
#include "attack/fit.h"
#include "base/stream.h"
#include "spankey/keys/injection.h"
#include "spankey/keys/key_maker.h"
#include "spankey/models/model.h"
#include "train/measure.h"

namespace spankey {

// Where and how keys enter the network.
struct KeyEntry {
  std::vector<std::int64_t> layers, widths;
  InjectionKind kind;
  double std;  // of the elements of a key
};

class AttackContext {
 public:
  // Keeps references. `leave_if_asked` is called within the work, several times a second, and may throw.
  AttackContext(const AttackedRun& run, const Attack& attack, std::int64_t attack_seed,
                std::function<void()> leave_if_asked = {});

  std::int64_t classes() const;
  RejectKind reject() const;

  // Know::weights. The network is in evaluation mode and its parameters have no gradients. Whoever changes it puts it
  // back (WeightsGuard).
  Model& network();
  // Know::architecture.
  KeyEntry key_entry();
  Injection keyed(const std::vector<at::Tensor>& keys);    // (1, d) for each keyed layer
  std::vector<at::Tensor> normal_keys(std::int64_t draw);  // N(0, std^2), float32, (1, d) for each keyed layer
  std::shared_ptr<Model> fresh_network();                  // drawn anew, without a reject class or head
  // Know::labels and Know::unlabelled. Images of the training split, unaugmented, as balanced_selection() has them.
  Images labelled(std::int64_t count);
  Images unlabelled(std::int64_t count);
  // Know::queries. What the network answers as shipped: (n) int64, the class, or -1 for a rejection.
  at::Tensor query(const at::Tensor& x, const Injection& key);
  // Know::leaked_keys. So many valid keys of other numbers than the evaluation's: (1, d) for each keyed layer.
  std::vector<std::vector<at::Tensor>> leaked(std::int64_t count);
  // Know::basis and Know::owner.
  const Basis& basis();
  const KeyMaker& owners_keys();

  // fit() with this unit's streams. What it costs is counted.
  double search(const std::vector<at::Tensor>& leaves, const Images& images, const BatchLoss& loss, double lr,
                std::int64_t steps);
  // How well the attack did, over the whole test split. Not seen by the attacker.
  AccessCounts judge(const Injection& key);                       // of the network as it now is
  AccessCounts judge(const Answers& answers, RejectKind reject);  // of anything else that answers

  Stream stream(std::int64_t step) const { return Stream(stream_id(step)); }
  void count_forward(std::int64_t images) { cost_.forward += images; }
  const Cost& cost() const { return cost_; }

 private:
  void require(Know what) const;
  StreamId stream_id(std::int64_t step) const;
  Images images(std::int64_t count) const;
  KeyMaker& key_maker();

  const AttackedRun& run_;
  const Attack& attack_;
  std::int64_t attack_seed_;
  std::function<void()> leave_if_asked_;
  std::unique_ptr<KeyMaker> keys_;
  Cost cost_;
};

}  // namespace spankey
