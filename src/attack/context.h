// Hands an attacker what Attack::knows says he knows, and nothing else. That makes the column of knowledge in every
// table true. An attack that asks for more is a programmer's mistake and ends the program.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "attack/attack.h"
#include "attack/attacked_run.h"
#include "attack/fit.h"
#include "attack/issued_keys.h"
#include "base/stream.h"
#include "spankey/keys/injection.h"
#include "spankey/keys/key_maker.h"
#include "spankey/keys/key_rules.h"
#include "spankey/models/model.h"
#include "train/measure.h"

namespace spankey {

// Where and how keys enter the network.
struct KeyEntry {
  std::vector<std::int64_t> layers, widths;
  InjectionKind kind;
  double std;      // of the elements of a key
  std::int64_t m;  // vectors that the secret has
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
  std::shared_ptr<Model> network_drawn_anew();  // of the same kind, with the same reject class or head
  // Know::architecture.
  KeyEntry key_entry();
  Injection keyed(const std::vector<at::Tensor>& keys);    // (1, d) for each keyed layer
  std::vector<at::Tensor> normal_keys(std::int64_t draw);  // N(0, std^2), float32, (1, d) for each keyed layer
  std::shared_ptr<Model> fresh_network();                  // drawn anew, without a reject class or head
  // Know::labels and Know::unlabelled. Images that AttackData offers, unaugmented, as balanced_selection() has them.
  Images labelled(std::int64_t count);
  Images unlabelled(std::int64_t count);
  // Know::labels. As many as the budget has, and where its variant is augmented_variant so many copies of each.
  Images labelled(const Budget& budget);
  // Know::labels, so many times each, with the augmentation of the training drawn anew every time.
  Images augmented(std::int64_t count, std::int64_t copies = 1);
  // Know::queries. What the network answers as shipped: (n) int64, the class, or -1 for a rejection.
  at::Tensor query(const at::Tensor& x, const Injection& key);
  Output query_scores(const at::Tensor& x, const Injection& key);  // likewise the logits, without the features
  // Know::service. The same from a network with a valid key that nobody gets to see.
  at::Tensor service(const at::Tensor& x);
  Output service_scores(const at::Tensor& x);
  // Know::leaked_keys. So many valid keys of other numbers than the evaluation's: (1, d) for each keyed layer.
  std::vector<std::vector<at::Tensor>> leaked(std::int64_t count);
  // So many keys with the fingerprints of their holders, as an owner issues them. Where a keyed layer is too narrow for
  // fingerprints they are leaked() ones.
  std::vector<std::vector<at::Tensor>> issued(std::int64_t count);
  // Know::basis. The secret with the rules by which it makes keys, and the first images of the test split: the
  // reference implementation chose keys by them.
  const Basis& basis();
  KeyRules key_rules();
  Images test_images(std::int64_t count);
  // Know::owner.
  const KeyMaker& owners_keys();

  // fit() with this unit's streams. What it costs is counted.
  double search(const std::vector<at::Tensor>& leaves, const Images& images, const BatchLoss& loss, double lr,
                std::int64_t steps, const std::function<void()>& after_each_step = {});
  // Does the same with a rate for each leaf.
  double search(const std::vector<at::Tensor>& leaves, const Images& images, const BatchLoss& loss,
                const std::vector<double>& rates, std::int64_t steps,
                const std::function<void()>& after_each_step = {});
  // How well the attack did, over the test images that count. Not seen by the attacker.
  AccessCounts judge(const Injection& key);                       // of the network as it now is
  AccessCounts judge(const Answers& answers, RejectKind reject);  // of anything else that answers
  // Judges the network with keys that an attack has made, (1, d) for each keyed layer, and notes what only the owner
  // can tell of them: see owners_view().
  AccessCounts judge_key(const std::vector<at::Tensor>& keys);
  // Notes the same of keys that are judged in another way.
  void note_keys(const std::vector<at::Tensor>& keys);
  // Notes what the owner still gets with valid keys from the network as it now is.
  void note_correct_key();
  // The share of the test images that count on which both name the same, of functions x -> (n) int64.
  using Named = std::function<at::Tensor(const at::Tensor& x)>;
  double agreement(const Named& one, const Named& other);
  double fidelity(const Named& student);  // agreement with the service

  // Returns {"energy_in_span", "cosine_to_mean_key"} of the last keys that were judged, each with a number for each
  // keyed layer. "trace" (IssuedKeys::trace) is added where they were made of issued() ones. After note_correct_key()
  // it is {"correct_key"}, the mean accuracy as shipped of two of the evaluation's keys. Null where there was neither,
  // or where there is no secret. It is for the printed row alone. No attack sees it.
  const nlohmann::json& owners_view() const { return owners_view_; }

  Stream stream(std::int64_t step) const { return Stream(stream_id(step)); }
  std::vector<double> uniforms(std::int64_t draw, std::int64_t count) const;     // on [0, 1)
  std::vector<std::int64_t> order(std::int64_t draw, std::int64_t count) const;  // of 0 .. count-1
  // Counts images that go through the network outside of search() and judge(), and leaves where that is asked for.
  void count_forward(std::int64_t images);
  const Cost& cost() const { return cost_; }

 private:
  void require(Know what) const;
  StreamId stream_id(std::int64_t step) const;
  std::shared_ptr<Model> drawn_anew(RejectKind reject) const;
  Images images(std::int64_t count, Augment augment = Augment::none, std::int64_t copies = 1) const;
  KeyMaker& key_maker();
  SplitReader judged() const;  // the images on which the outcome is measured
  const Injection& service_key();
  Output answer(const at::Tensor& x, const Injection& key);  // counted as a query
  at::Tensor named(const Output& output) const;              // (n) int64, the class, or -1 for a rejection

  const AttackedRun& run_;
  const Attack& attack_;
  std::int64_t attack_seed_;
  std::function<void()> leave_if_asked_;
  std::unique_ptr<KeyMaker> keys_;
  std::optional<Injection> service_key_;
  std::optional<IssuedKeys> issued_keys_;
  nlohmann::json owners_view_;
  Cost cost_;
};

}  // namespace spankey
