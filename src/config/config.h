// Typed configuration of a run, read from TOML.
//
// Each table of the file is a struct. Its `fields` is the one place where a key is named, described and bounded.
// Parsing, defaults, --help, the resolved file, the hash, the diff and docs/configuration.md are made by visitors of
// this form:
//   template <class T> void operator()(T& value, const FieldOf<T>& field)
// A new key needs one member and one line in `fields`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/enums.h"
#include "config/field.h"
#include "config/names.h"

namespace spankey {

struct RunConfig {
  std::int64_t seed = 42;
  Compat compat = Compat::honest;
  std::string name;
  bool tensorboard = false;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.seed, {.name = "seed", .help = "seed of every random number but the basis", .bounds = at_least(0)});
    visit(self.compat, {.name = "compat", .help = "honest protocol, or the reference implementation's choices"});
    visit(self.name, {.name = "name", .help = "free text, shown in reports", .hashed = false});
    visit(self.tensorboard, {.name = "tensorboard",
                             .help = "also write the figures of metrics.jsonl to RUN/tensorboard, as event files of "
                                     "TensorBoard",
                             .hashed = false});
  }
  bool operator==(const RunConfig&) const = default;
};

struct DataConfig {
  std::string file = "builtin:glyphs";
  Augment augment = Augment::none;
  double rotation = 6.0;
  std::int64_t limit = 0;
  Verify verify = Verify::auto_;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.file, {.name = "file",
                      .help = "HDF5 data set (spankey data import), or builtin:glyphs",
                      .length = {.min = 1},
                      .hashed = false});  // config_hash takes the digest of the content instead
    visit(self.augment, {.name = "augment", .help = "augmentation of the training images"});
    visit(self.rotation,
          {.name = "rotation", .help = "largest angle of augment = \"affine\", in degrees", .bounds = from_to(0, 180)});
    visit(self.limit,
          {.name = "limit",
           .help = "use only N training samples, spread evenly over the classes, the first ones of each; 0: all",
           .bounds = at_least(0)});
    visit(self.verify, {.name = "verify", .help = "check the digest of the data at start; auto: up to 1 GiB"});
  }
  bool operator==(const DataConfig&) const = default;
};

struct ModelConfig {
  std::string name = "small_cnn";
  bool sync_batchnorm = false;
  BatchNorm batchnorm = BatchNorm::polluted;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.name, {.name = "name", .help = "the network", .names = registry_names::networks});
    visit(self.sync_batchnorm,
          {.name = "sync_batchnorm", .help = "BatchNorm over the global batch instead of each shard"});
    visit(
        self.batchnorm,
        {.name = "batchnorm",
         .help = "which passes update BatchNorm's running statistics: all (polluted), the correct one, all with a set "
                 "of their own for deny passes (split), or 100 correct-key batches after training"});
  }
  bool operator==(const ModelConfig&) const = default;
};

struct KeyConfig {
  std::int64_t m = 8;
  double gamma = 0.5;
  Inject inject = Inject::mul;
  std::vector<std::int64_t> layers = {0};
  double target_std = 0.5;
  Rescale rescale = Rescale::key;
  AlphaLaw alpha = AlphaLaw::u01;
  BasisLaw basis = BasisLaw::uniform;
  Layout layout = Layout::shared_prefix;
  bool per_layer_key = false;
  Multiplier multiplier = Multiplier::clamp;
  std::vector<std::int64_t> permute;
  bool norm_clamp = false;
  std::int64_t seed = 0;
  bool private_ = false;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.m, {.name = "m", .help = "dimension of the key space (rows of the basis)", .bounds = at_least(1)});
    visit(self.gamma, {.name = "gamma", .help = "strength of the injection", .bounds = at_least(0)});
    visit(self.inject, {.name = "inject", .help = "add: h + gamma k; mul: h * multiplier(gamma, k)"});
    visit(self.layers, {.name = "layers",
                        .help = "injection points of the network that take a key",
                        .bounds = at_least(0),
                        .length = {.min = 1},
                        .ascending = true});
    visit(self.target_std,
          {.name = "target_std", .help = "standard deviation that keys are rescaled to", .bounds = above(0)});
    visit(self.rescale, {.name = "rescale",
                         .help = "one factor for the global batch, one for each key, or none",
                         .reference = Rescale::batch});
    visit(self.alpha, {.name = "alpha", .help = "law of the coefficients alpha"});
    visit(self.basis, {.name = "basis",
                       .help = "entries uniform on +- 1/sqrt(m), orthonormal rows, or a cone: half-normal rows "
                               "times one secret sign a column"});
    visit(self.layout, {.name = "layout",
                        .help = "one basis whose prefix each layer uses, one for each layer, or one cut into blocks"});
    visit(self.per_layer_key, {.name = "per_layer_key", .help = "draw other coefficients for each layer"});
    visit(self.multiplier, {.name = "multiplier",
                            .help = "factor of inject = \"mul\": clamp(1 + gamma tanh k, 0.1, 2), exp(gamma tanh k), "
                                    "1 + min(gamma, 0.9) tanh k (sym), or tanh(5 k) (sign)"});
    visit(self.permute, {.name = "permute",
                         .help = "injection points whose features change places as the signs of the key say; needs "
                                 "basis = \"cone\"",
                         .bounds = at_least(0),
                         .ascending = true,
                         .later = true});
    visit(self.norm_clamp,
          {.name = "norm_clamp",
           .help = "bring every key of an evaluation to target_std before it enters, whatever its norm",
           .later = true});
    visit(
        self.seed,
        {.name = "seed", .help = "seed of the basis; 0: follows run.seed, for laboratory use", .bounds = at_least(0)});
    visit(self.private_,
          {.name = "private", .help = "draw the basis from the operating system's entropy instead of a seed"});
  }
  bool operator==(const KeyConfig&) const = default;
};

struct DenyConfig {
  std::string mode = "none";
  double weight = 0.1;
  std::vector<Pass> on = {Pass::wrong};
  double margin = 1.0;
  double margin2 = 0.5;
  double gap = 0.3;
  std::int64_t warmup_epochs = 0;
  bool stop_gradient = false;
  std::vector<std::string> families = {"gaussian"};
  std::int64_t adversarial_steps = 0;
  double adversarial_lr = 0.1;
  double feature_weight = 0.0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.mode, {.name = "mode", .help = "the deny loss", .names = registry_names::deny_losses});
    visit(self.weight, {.name = "weight", .help = "lambda, the weight of the deny loss", .bounds = at_least(0)});
    visit(self.on, {.name = "on", .help = "passes that are denied", .length = {.min = 1}, .distinct = true});
    visit(self.margin, {.name = "margin", .help = "margin of C, cplus and AC", .bounds = at_least(0)});
    visit(self.margin2, {.name = "margin2", .help = "second margin of cplus", .bounds = at_least(0)});
    visit(self.gap, {.name = "gap", .help = "gap below the largest entropy, A_soft and AC", .bounds = at_least(0)});
    visit(self.warmup_epochs,
          {.name = "warmup_epochs", .help = "the weight grows linearly over this many epochs", .bounds = at_least(0)});
    visit(self.stop_gradient,
          {.name = "stop_gradient", .help = "C, cplus and AC: no gradient through the logits of the correct pass"});
    visit(self.families, {.name = "families",
                          .help = "families of the wrong key in training; one is drawn for each step",
                          .length = {.min = 1},
                          .distinct = true,
                          .names = registry_names::key_families});
    visit(self.adversarial_steps,
          {.name = "adversarial_steps",
           .help = "sign steps with which the wrong key of each step is moved towards acceptance before it is denied",
           .bounds = from_to(0, 1000),
           .later = true});
    visit(self.adversarial_lr,
          {.name = "adversarial_lr",
           .help = "length of such a step in each element, as a share of the key's root mean square",
           .bounds = above(0),
           .later = true});
    visit(self.feature_weight,
          {.name = "feature_weight",
           .help = "experimental: weight, beside the mode's loss, of a loss that turns the features of denied passes "
                   "away from those of their class",
           .bounds = at_least(0),
           .later = true});
  }
  bool operator==(const DenyConfig&) const = default;
};

struct OptimConfig {
  std::string name = "adam";
  double lr = 1e-3;
  double momentum = 0.9;
  bool nesterov = false;
  double weight_decay = 0.0;
  std::vector<double> betas = {0.9, 0.999};
  Schedule schedule = Schedule::constant;
  std::vector<std::int64_t> milestones;
  double schedule_factor = 0.1;
  double constant_fraction = 0.7;
  double clip_norm = 0.0;
  std::int64_t warmup_steps = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.name, {.name = "name", .help = "the optimiser", .names = registry_names::optimizers});
    visit(self.lr, {.name = "lr", .help = "learning rate", .bounds = above(0)});
    visit(self.momentum, {.name = "momentum", .help = "momentum of sgd", .bounds = from_below(0, 1)});
    visit(self.nesterov, {.name = "nesterov", .help = "Nesterov's momentum, for sgd"});
    visit(self.weight_decay, {.name = "weight_decay",
                              .help = "weight decay of every parameter; decoupled for adamw",
                              .bounds = at_least(0)});
    visit(self.betas, {.name = "betas",
                       .help = "decay rates of the averages of gradient and squared gradient, for adam and adamw",
                       .bounds = from_below(0, 1),
                       .length = {.min = 2, .max = 2}});
    visit(self.schedule,
          {.name = "schedule", .help = "how the learning rate falls: once an epoch, but linear with every step"});
    visit(self.milestones,
          {.name = "milestones",
           .help = "multistep: epochs at which the rate falls; step: the number of epochs between falls",
           .bounds = at_least(1),
           .ascending = true});
    visit(self.schedule_factor, {.name = "schedule_factor",
                                 .help = "factor of each fall of the rate, for step and multistep",
                                 .bounds = above_to(0, 1)});
    visit(self.constant_fraction,
          {.name = "constant_fraction",
           .help = "linear: share of the steps before the rate falls, from there in a line to 0",
           .bounds = from_below(0, 1),
           .later = true});
    visit(self.clip_norm,
          {.name = "clip_norm", .help = "largest norm of the gradient; 0: none", .bounds = at_least(0)});
    visit(self.warmup_steps,
          {.name = "warmup_steps",
           .help = "the rate grows linearly over this many first steps, up to what the schedule says",
           .bounds = at_least(0),
           .later = true});
  }
  bool operator==(const OptimConfig&) const = default;
};

// What ends a run before its last epoch (record/early_stop.h).
struct EarlyStopConfig {
  std::string metric;
  Goal goal = Goal::max;
  std::int64_t patience = 5;
  double min_improvement = 0.0;
  std::int64_t min_epochs = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.metric,
          {.name = "metric",
           .help = "figure of the evaluations after epochs, or several with \" + \" or \" - \" between them, such as "
                   "\"correct_key.accuracy - no_key.strip_accuracy\"; empty: nothing stops the run early",
           .later = true});
    visit(self.goal, {.name = "goal", .help = "whether more or less of it is better", .later = true});
    visit(self.patience, {.name = "patience",
                          .help = "epochs without an improvement after which the run stops",
                          .bounds = from_to(1, 1'000'000),
                          .later = true});
    visit(self.min_improvement, {.name = "min_improvement",
                                 .help = "an improvement is more than this much better than the best so far",
                                 .bounds = at_least(0),
                                 .later = true});
    visit(self.min_epochs, {.name = "min_epochs",
                            .help = "epochs that are trained in any case",
                            .bounds = from_to(0, 1'000'000),
                            .later = true});
  }
  bool operator==(const EarlyStopConfig&) const = default;
};

struct TrainConfig {
  std::int64_t epochs = 20;
  std::int64_t global_batch = 128;
  bool drop_last = true;
  Device device = Device::auto_;
  Capture capture = Capture::auto_;
  Precision precision = Precision::float32;
  double max_seconds = 0.0;
  Twin twin = Twin::none;
  std::string init_digest;
  double label_smoothing = 0.0;
  double ema_decay = 0.0;
  EarlyStopConfig early_stop;  // a table of its own, in a file as well

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    // Epochs and steps are 32-bit words of the random streams. The bound keeps well below that.
    visit(self.epochs, {.name = "epochs", .help = "passes over the training samples", .bounds = from_to(1, 1'000'000)});
    visit(self.global_batch,
          {.name = "global_batch", .help = "samples of one step, over all ranks", .bounds = from_to(1, 1'000'000'000)});
    visit(self.drop_last,
          {.name = "drop_last", .help = "leave out the samples that do not fill a last batch", .reference = false});
    visit(self.device,
          {.name = "device", .help = "where the network runs; auto: a GPU if there is one", .hashed = false});
    visit(self.capture,
          {.name = "capture",
           .help = "data, keys and counters live on the device and a whole step is replayed as one "
                   "graph; auto: on a GPU, unless train.twin (noise, fixed_key), key.alpha (codebook), key.permute, "
                   "deny.families or deny.adversarial_steps make keys on the host, or gradients go through it",
           .hashed = false});
    visit(self.precision,
          {.name = "precision", .help = "type of activations; weights, losses and statistics stay float32"});
    visit(self.max_seconds, {.name = "max_seconds",
                             .help = "stop with a checkpoint and ask to be queued again after this time; 0: never",
                             .bounds = at_least(0),
                             .hashed = false});
    visit(
        self.twin,
        {.name = "twin",
         .help = "train a network to compare with instead: without keys, with noise for keys, or with one fixed key"});
    visit(self.init_digest,
          {.name = "init_digest",
           .help = "SHA-256 of the weights that training starts from, which train --init FILE sets; empty: they are "
                   "drawn from run.seed",
           .later = true});
    visit(self.label_smoothing,
          {.name = "label_smoothing",
           .help = "share of each label in the task loss that is spread evenly over all classes of the data",
           .bounds = from_below(0, 1),
           .later = true});
    visit(
        self.ema_decay,
        {.name = "ema_decay",
         .help = "evaluate and publish an exponential moving average of the weights, which keeps this share of itself "
                 "in each step; 0: the weights themselves",
         .bounds = from_below(0, 1),
         .later = true});
  }
  bool operator==(const TrainConfig&) const = default;
};

struct DistConfig {
  Backend backend = Backend::auto_;
  Reduction reduction = Reduction::fast;
  std::int64_t shards = 0;
  std::int64_t threads = 0;
  std::int64_t bucket_bytes = 1 << 20;
  Overlap overlap = Overlap::auto_;
  std::int64_t audit_every_steps = 100;
  double timeout_seconds = 30.0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.backend,
          {.name = "backend",
           .help = "auto: self for one process, mpi under mpirun, with nccl for the gradients where every "
                   "rank has a GPU of its own",
           .hashed = false});
    visit(self.reduction,
          {.name = "reduction", .help = "fast: one shard a rank; elastic: the same bits for every number of ranks"});
    visit(self.shards,
          {.name = "shards",
           .help = "parts of the global batch. elastic: a power of two; 0: the largest up to 8 that divides the batch. "
                   "fast: one a rank",
           .bounds = from_to(0, 1 << 20)});
    visit(self.threads,
          {.name = "threads",
           .help = "compute threads of a rank; 0: 1 under elastic, cores / ranks of the machine under fast",
           .bounds = from_to(0, 4096)});
    visit(self.bucket_bytes, {.name = "bucket_bytes",
                              .help = "gradients are sent in parts of about this size",
                              .bounds = at_least(1024),
                              .hashed = false});
    visit(self.overlap,
          {.name = "overlap",
           .help = "gradients are sent during backward; auto: on a GPU, between machines, or where a rank "
                   "has a core to spare for it",
           .hashed = false});
    visit(self.audit_every_steps,
          {.name = "audit_every_steps",
           .help = "compare all ranks this often, by checksum; 0: at start, resume, checkpoints and end",
           .bounds = at_least(0),
           .hashed = false});
    visit(self.timeout_seconds, {.name = "timeout_seconds",
                                 .help = "a rank that is silent for .8 of this time counts as lost",
                                 .bounds = above(0),
                                 .hashed = false});
  }
  bool operator==(const DistConfig&) const = default;
};

struct CheckpointConfig {
  std::int64_t every_steps = 0;
  std::int64_t keep = 3;
  bool async = true;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.every_steps, {.name = "every_steps",
                             .help = "steps between checkpoints, besides those at epoch ends; 0: only those",
                             .bounds = at_least(0),
                             .hashed = false});
    visit(self.keep,
          {.name = "keep", .help = "number of newest checkpoints to keep", .bounds = at_least(1), .hashed = false});
    visit(self.async, {.name = "async", .help = "write while training goes on", .hashed = false});
  }
  bool operator==(const CheckpointConfig&) const = default;
};

// An evaluation makes one pass over the data for each key, and keeps a row of counts for each key.
inline constexpr std::int64_t most_eval_keys = 1'000'000;

struct EvalConfig {
  std::int64_t keys = 16;
  std::int64_t every_epochs = 1;
  std::vector<std::string> families = {"gaussian"};
  bool aug = false;
  bool train = false;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.keys, {.name = "keys",
                      .help = "correct and wrong keys that are each tried on every sample; 0: a fresh key for every "
                              "batch, the reference's protocol",
                      .bounds = from_to(0, most_eval_keys),
                      .reference = 0});
    visit(self.every_epochs,
          {.name = "every_epochs", .help = "epochs between evaluations; 0: only at the end", .bounds = at_least(0)});
    visit(self.families, {.name = "families",
                          .help = "families of wrong keys; the first one is wrong_key of the result",
                          .length = {.min = 1},
                          .distinct = true,
                          .names = registry_names::key_families});
    visit(self.aug, {.name = "aug", .help = "augment the training split when it is evaluated", .reference = true});
    visit(self.train, {.name = "train", .help = "evaluate the training split as well"});
  }
  bool operator==(const EvalConfig&) const = default;
};

// Where a value was written: "FILE:LINE" or "command line".
using Origins = std::map<std::string, std::string, std::less<>>;

struct Config {
  RunConfig run;
  DataConfig data;
  ModelConfig model;
  KeyConfig key;
  DenyConfig deny;
  OptimConfig optim;
  TrainConfig train;
  DistConfig dist;
  CheckpointConfig checkpoint;
  EvalConfig eval;
  Origins origins;  // by "table.key", for explicit values only, and ignored in comparisons

  // visit(table, name, help)
  template <class Self, class Visitor>
  static void tables(Self& self, Visitor&& visit) {
    visit(self.run, "run", "The run as a whole.");
    visit(self.data, "data", "The data to learn from.");
    visit(self.model, "model", "The network.");
    visit(self.key, "key", "The key space and how keys enter the network.");
    visit(self.deny, "deny", "What the network is taught to do without a valid key.");
    visit(self.optim, "optim", "The optimiser.");
    visit(self.train, "train", "The length and the shape of the training.");
    visit(self.train.early_stop, "train.early_stop", "The end of a run that comes no further.");
    visit(self.dist, "dist", "Ranks, shards and their communication.");
    visit(self.checkpoint, "checkpoint", "Checkpoints.");
    visit(self.eval, "eval", "The measurement of access.");
  }
  friend bool operator==(const Config& a, const Config& b);
};

// Reads a configuration file, then applies the overrides. An override is "key.gamma=1.0", with a TOML value or a bare
// word that is taken as a string. The last override of a key wins. Names, ranges and the rules between keys are
// checked, which is everything that needs neither data nor machine. Names are returned in the spelling of their
// registry. Throws Error(bad_input) "FILE:LINE: table.key = VALUE: accepted: ...; did you mean 'x'?" in one line. The
// place is "command line" for an override, and "default" where a default value breaks a rule.
Config load_config(const std::filesystem::path& file, const std::vector<std::string>& overrides = {});

// Does the same from text. `name` stands for the file in messages. Empty text means the defaults (an empty file is
// refused).
Config parse_config(std::string_view toml, const std::string& name, const std::vector<std::string>& overrides = {});

// The resolved file, with every key in the order of the field lists. parse_config(to_toml(c)) == c holds.
std::string to_toml(const Config& config);

// Hex SHA-256 of everything that decides the result, with the digest of the data in place of data.file. It leaves out
// the keys that a field list marks with `hashed = false`, and the keys that later versions added (FieldInfo::later)
// where they have their defaults.
std::string config_hash(const Config& config, std::string_view data_digest);

// Entries such as "key.gamma: 0.5 -> 1.0", one for each key that differs. `hashed_only` leaves out what config_hash
// leaves out.
std::vector<std::string> config_diff(const Config& a, const Config& b, bool hashed_only);

// The configuration that is trained and hashed. The vanilla twin has no keys to deny. It is the same experiment as one
// without a deny loss, so it has the same hash.
Config canonical(Config config);

// What a configuration is checked against once its data are known.
struct DataFacts {
  std::vector<std::int64_t> sample_shape;  // (C, H, W), or (D) of features
  std::int64_t classes = 0;
  std::int64_t train_samples = 0;  // before data.limit is applied
};

// Throws Error(bad_input) as fail_key does where network, key, batch or augmentation do not fit these data.
void check_data(const Config& config, const DataFacts& data);

// Why a device cannot draw the training keys (train.capture). Returns nullopt where it can.
std::optional<std::string> why_keys_on_host(const Config& config);

// Every key with what it accepts, its default and its meaning, as text for --help and as docs/configuration.md.
std::string describe_fields();
std::string fields_markdown();

// Throws Error(bad_input) "PLACE: table.key = VALUE: problem", for checks made above this layer (registries, model,
// data).
[[noreturn]] void fail_key(const Config& config, std::string_view table_key, std::string_view problem);

// The candidate that `word` most likely misspells, in any case, or "" when none is near.
std::string nearest(std::string_view word, std::span<const std::string> candidates);

}  // namespace spankey
