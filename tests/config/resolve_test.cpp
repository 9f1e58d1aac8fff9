// What a configuration resolves to: defaults, compat, dump, hash, diff, help.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "config/config.h"

namespace spankey::resolve_test {
namespace {

// The defaults, written by hand from the description of the schema.
const char* const default_toml = R"([run]
seed = 42
compat = "honest"
name = ""
tensorboard = false

[data]
file = "builtin:glyphs"
augment = "none"
rotation = 6.0
limit = 0
verify = "auto"

[model]
name = "small_cnn"
sync_batchnorm = false
batchnorm = "polluted"

[key]
m = 8
gamma = 0.5
inject = "mul"
layers = [0]
target_std = 0.5
rescale = "key"
alpha = "u01"
basis = "uniform"
layout = "shared_prefix"
per_layer_key = false
multiplier = "clamp"
permute = []
norm_clamp = false
seed = 0
private = false

[deny]
mode = "none"
weight = 0.1
on = ["wrong"]
margin = 1.0
margin2 = 0.5
gap = 0.3
warmup_epochs = 0
stop_gradient = false
families = ["gaussian"]
adversarial_steps = 0
adversarial_lr = 0.1
feature_weight = 0.0

[optim]
name = "adam"
lr = 0.001
momentum = 0.9
nesterov = false
weight_decay = 0.0
betas = [0.9, 0.999]
schedule = "constant"
milestones = []
schedule_factor = 0.1
constant_fraction = 0.7
clip_norm = 0.0
warmup_steps = 0

[train]
epochs = 20
global_batch = 128
drop_last = true
device = "auto"
capture = "auto"
precision = "float32"
max_seconds = 0.0
twin = "none"
init_digest = ""
label_smoothing = 0.0
ema_decay = 0.0

[train.early_stop]
metric = ""
goal = "max"
patience = 5
min_improvement = 0.0
min_epochs = 0

[dist]
backend = "auto"
reduction = "fast"
shards = 0
threads = 0
bucket_bytes = 1048576
overlap = "auto"
audit_every_steps = 100
timeout_seconds = 30.0

[checkpoint]
every_steps = 0
keep = 3
async = true

[eval]
keys = 16
every_epochs = 1
families = ["gaussian"]
aug = false
train = false
)";

// Left out of the hash: by hand, independent of the field lists.
const std::set<std::string> unhashed = {
    "run.name",
    "run.tensorboard",
    "data.file",
    "train.device",
    "train.capture",
    "train.max_seconds",
    "dist.backend",
    "dist.bucket_bytes",
    "dist.overlap",
    "dist.audit_every_steps",
    "dist.timeout_seconds",
    "checkpoint.every_steps",
    "checkpoint.keep",
    "checkpoint.async",
};

// Keys that came after the first runs: by hand as well. Hashed only where they differ from their defaults.
const std::set<std::string> later = {
    "key.permute",
    "key.norm_clamp",
    "deny.adversarial_steps",
    "deny.adversarial_lr",
    "deny.feature_weight",
    "optim.constant_fraction",
    "train.init_digest",
    "optim.warmup_steps",
    "train.label_smoothing",
    "train.ema_decay",
    "train.early_stop.metric",
    "train.early_stop.goal",
    "train.early_stop.patience",
    "train.early_stop.min_improvement",
    "train.early_stop.min_epochs",
};

// Gives the wanted field another value and tells its name.
struct Change {
  const std::string& table;
  std::size_t wanted;
  std::size_t& index;
  std::string& key;

  static void alter(bool& value) { value = !value; }
  static void alter(std::int64_t& value) { value += 1; }
  static void alter(double& value) { value = value / 2 + 0.0625; }
  static void alter(std::string& value) { value += "x"; }
  template <ConfigEnum E>
  static void alter(E& value) {
    constexpr std::size_t words = enum_words(E{}).size();
    static_assert(words > 1);
    value = static_cast<E>((static_cast<std::size_t>(value) + 1) % words);
  }
  template <class T>
  static void alter(std::vector<T>& value) {
    if (value.empty())
      value.push_back(T{});
    else
      alter(value.back());
  }

  template <class T>
  void operator()(T& value, const FieldOf<T>& field) const {
    if (index++ != wanted) return;
    key = table + "." + std::string(field.name);
    alter(value);
  }
};

struct Changed {
  Config config;
  std::string key;
};

std::vector<Changed> every_change(const Config& from) {
  std::vector<Changed> all;
  for (std::size_t wanted = 0;; ++wanted) {
    Changed change{from, ""};
    std::size_t index = 0;
    Config::tables(change.config, [&]<class Table>(Table& table, const std::string& name, std::string_view) {
      Table::fields(table, Change{name, wanted, index, change.key});
    });
    if (change.key.empty()) return all;
    all.push_back(change);
  }
}

// ---- Random configurations ----

using Generator = std::mt19937_64;  // tests only

struct Randomise {
  using Names = std::span<const std::string_view>;
  Generator& random;

  std::size_t below(std::size_t n) const { return random() % n; }

  void one(const Bounds&, Names, bool& value) const { value = below(2) == 1; }
  void one(const Bounds& bounds, Names, std::int64_t& value) const {
    const double low = bounds.low;  // every integer has one
    const double high = std::min(bounds.high, below(2) == 0 ? low + 50.0 : 9e15);
    value = static_cast<std::int64_t>(low + std::floor((high - low) * fraction()));
  }
  void one(const Bounds& bounds, Names, double& value) const {
    const double scale = std::pow(10.0, static_cast<double>(below(40)) - 20.0);
    const double high = std::isfinite(bounds.high) ? bounds.high : bounds.low + scale;
    do {
      value = bounds.low + (high - bounds.low) * fraction();
    } while ((bounds.low_open && value <= bounds.low) || (bounds.high_open && value >= bounds.high));
  }
  void one(const Bounds&, Names names, std::string& value) const {
    static const std::vector<std::string> pieces = {"a", "Z", " ", "\"", "\\", "\n", "\t", "\x01", "\x7f",
                                                    "#", "=", "[", "é",  "鍵", "0",  "'",  "\r",   "{}"};
    value = "s";
    for (std::size_t n = below(12); n > 0; --n) value += pieces[below(pieces.size())];
    if (!names.empty()) value = names[below(names.size())];
  }
  template <ConfigEnum E>
  void one(const Bounds&, Names, E& value) const {
    value = static_cast<E>(below(enum_words(E{}).size()));
  }
  double fraction() const { return static_cast<double>(random() >> 11) * 0x1p-53; }

  template <class T>
  void operator()(T& value, const FieldInfo<T>& field) const {
    one(field.bounds, field.names, value);
  }
  template <class T>
  void operator()(std::vector<T>& value, const FieldInfo<std::vector<T>>& field) const {
    const std::size_t count = field.length.min + (field.length.min == field.length.max ? 0 : below(4));
    value.clear();
    for (std::size_t i = 0; i < count; ++i) {
      T element{};
      one(field.bounds, field.names, element);
      const bool known = std::find(value.begin(), value.end(), element) != value.end();
      if (!known || !(field.distinct || field.ascending)) value.push_back(element);
    }
    if (field.ascending) std::sort(value.begin(), value.end());
  }
};

Config random_config(std::uint64_t seed) {
  Generator random(seed);
  Config config;
  Config::tables(config, [&]<class Table>(Table& table, std::string_view, std::string_view) {
    Table::fields(table, Randomise{random});
  });
  // The rules between keys.
  const bool wrong = std::find(config.deny.on.begin(), config.deny.on.end(), Pass::wrong) != config.deny.on.end();
  if (config.deny.mode == "none") config.deny.feature_weight = 0;
  if (config.deny.mode == "none" || !wrong) config.deny.adversarial_steps = 0;
  if (config.eval.every_epochs == 0) config.train.early_stop = {};
  if (config.dist.reduction == Reduction::elastic) {
    config.dist.shards = 1 << (random() % 5);
    config.train.global_batch = 16 * static_cast<std::int64_t>(1 + random() % 100);
  }
  if (config.optim.milestones.size() != 1) config.optim.schedule = Schedule::cosine;
  config.key.layers = random() % 2 == 0 ? std::vector<std::int64_t>{0} : std::vector<std::int64_t>{0, 1};
  config.key.m = 1 + static_cast<std::int64_t>(random() % 64);  // the narrowest of these layers of any network
  if (config.dist.reduction == Reduction::elastic) config.model.sync_batchnorm = false;
  if (config.dist.backend == Backend::nccl) config.train.device = Device::cuda;
  if (config.data.limit > 0) config.train.drop_last = false;
  if (config.train.capture == Capture::on) config.train.capture = Capture::off;
  config.key.permute = {};
  config.key.norm_clamp = false;
  if (config.key.basis == BasisLaw::cone) config.key.alpha = AlphaLaw::simplex;
  return config;
}

// By the members themselves: independent of the text that Config's own comparison goes through.
bool equal_members(const Config& a, const Config& b) {
  return a.run == b.run && a.data == b.data && a.model == b.model && a.key == b.key && a.deny == b.deny &&
         a.optim == b.optim && a.train == b.train && a.dist == b.dist && a.checkpoint == b.checkpoint &&
         a.eval == b.eval;
}

TEST(Resolve, Defaults) {
  EXPECT_EQ(to_toml(Config{}), default_toml);
  EXPECT_TRUE(equal_members(parse_config("", "f.toml"), Config{}));
}

TEST(Resolve, RoundTripOfRandomConfigurations) {
  std::set<std::string> texts;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    const Config config = random_config(seed);
    const std::string text = to_toml(config);
    const Config again = parse_config(text, "dump.toml");
    ASSERT_TRUE(equal_members(config, again)) << text << "\n--- read back as\n" << to_toml(again);
    ASSERT_TRUE(config == again);
    ASSERT_EQ(to_toml(again), text);
    ASSERT_EQ(config_hash(config, "d"), config_hash(again, "d"));
    texts.insert(text);
  }
  EXPECT_EQ(texts.size(), 500U);  // they were indeed different
}

TEST(Resolve, ReferenceChangesDefaults) {
  const Config reference = parse_config("[run]\ncompat = \"Reference\"\n", "f.toml");
  EXPECT_THAT(config_diff(Config{}, reference, false),
              testing::ElementsAre("run.compat: \"honest\" -> \"reference\"", "key.rescale: \"key\" -> \"batch\"",
                                   "train.drop_last: true -> false", "eval.keys: 16 -> 0", "eval.aug: false -> true"));
  // From the command line as well, and honest on the command line takes it back.
  EXPECT_EQ(parse_config("", "f.toml", {"run.compat=reference"}), reference);
  EXPECT_EQ(parse_config("[run]\ncompat = \"reference\"\n", "f.toml", {"run.compat=honest"}), Config{});
}

TEST(Resolve, ExplicitValuesWinOverReference) {
  const Config config = parse_config("[eval]\nkeys = 16\n[run]\ncompat = \"reference\"\n[key]\nrescale = \"none\"\n",
                                     "f.toml", {"train.drop_last=true"});
  EXPECT_EQ(config.eval.keys, 16);
  EXPECT_EQ(config.key.rescale, Rescale::none);
  EXPECT_TRUE(config.train.drop_last);
  EXPECT_TRUE(config.eval.aug);
  // A resolved file says everything, so reading it again changes nothing.
  EXPECT_EQ(parse_config(to_toml(config), "dump.toml"), config);
}

TEST(Resolve, HashCoversWhatDecidesTheResult) {
  const Config base;
  const std::string hash = config_hash(base, "digest");
  std::set<std::string> seen_unhashed;
  std::set<std::string> hashes = {hash};
  std::size_t hashed = 0;
  for (const Changed& change : every_change(base)) {
    EXPECT_FALSE(change.config == base) << change.key;
    EXPECT_EQ(config_diff(base, change.config, false).size(), 1U) << change.key;
    const std::string other = config_hash(change.config, "digest");
    if (unhashed.contains(change.key)) {
      seen_unhashed.insert(change.key);
      EXPECT_EQ(other, hash) << change.key;
      EXPECT_TRUE(config_diff(base, change.config, true).empty()) << change.key;
    } else {
      ++hashed;
      EXPECT_TRUE(hashes.insert(other).second) << change.key;  // also unlike every other change
      EXPECT_EQ(config_diff(base, change.config, true).size(), 1U) << change.key;
    }
  }
  EXPECT_EQ(seen_unhashed, unhashed);
  EXPECT_EQ(hashed, 54U + later.size());
  EXPECT_NE(config_hash(base, "another digest"), hash);
}

// The hash is part of the format of a run directory: the lines it is made of, sorted, written by hand.
TEST(Resolve, HashIsTheDigestOfTheCanonicalText) {
  std::vector<std::string> lines = {"data.digest = abc\n"};
  std::istringstream text{std::string(default_toml)};
  std::string table;
  for (std::string line; std::getline(text, line);) {
    if (line.starts_with("[")) table = line.substr(1, line.size() - 2);
    if (line.find('=') == std::string::npos || later.contains(table + "." + line.substr(0, line.find(' ')))) continue;
    if (!unhashed.contains(table + "." + line.substr(0, line.find(' ')))) lines.push_back(table + "." + line + "\n");
  }
  std::sort(lines.begin(), lines.end());
  std::string canonical;
  for (const std::string& line : lines) canonical += line;
  EXPECT_EQ(config_hash(Config{}, "abc"), to_hex(sha256(canonical)));
  // A late key has a line once it says something else.
  Config moved;
  moved.key.permute = {2};
  lines.emplace_back("key.permute = [2]\n");
  std::sort(lines.begin(), lines.end());
  canonical.clear();
  for (const std::string& line : lines) canonical += line;
  EXPECT_EQ(config_hash(moved, "abc"), to_hex(sha256(canonical)));
}

// Runs of earlier versions go on and are found under their hashes. The value is hashlib.sha256 of Python over the
// sorted lines of the first version whose hashes stay.
TEST(Resolve, KeysThatCameLaterLeaveOlderHashesAlone) {
  EXPECT_EQ(config_hash(Config{}, "abc"), "7d9cfbbf061d23296340d7993781bd3ee00384561b738feb23443a1e2994e333");
  const std::string resolved = to_toml(Config{});
  for (const std::string& key : later) {
    const auto end = key.rfind('.');
    EXPECT_NE(resolved.find("\n" + key.substr(end + 1) + " = "), std::string::npos) << key;  // still written out
  }
}

// Registries find their entries in any case, so the case of such a name is no other configuration.
TEST(Resolve, CaseOfRegistryNamesIsNoDifference) {
  Config upper;
  Config lower;
  upper.deny.mode = "B_AUX";
  lower.deny.mode = "b_aux";
  EXPECT_EQ(config_hash(upper, ""), config_hash(lower, ""));
  EXPECT_TRUE(config_diff(upper, lower, false).empty());
  upper.data.file = "A.h5";
  lower.data.file = "a.h5";
  EXPECT_THAT(config_diff(upper, lower, false), testing::ElementsAre("data.file: \"A.h5\" -> \"a.h5\""));
}

TEST(Resolve, Diff) {
  Config a;
  Config b;
  b.key.gamma = 1;
  b.key.layers = {0, 2};
  b.train.device = Device::cuda;
  EXPECT_THAT(config_diff(a, b, false), testing::ElementsAre("key.gamma: 0.5 -> 1.0", "key.layers: [0] -> [0, 2]",
                                                             "train.device: \"auto\" -> \"cuda\""));
  EXPECT_THAT(config_diff(a, b, true), testing::ElementsAre("key.gamma: 0.5 -> 1.0", "key.layers: [0] -> [0, 2]"));
  EXPECT_TRUE(config_diff(a, a, false).empty());
}

std::string failed_key(const Config& config, const std::string& key) {
  try {
    fail_key(config, key, "accepted: something else");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_input);
    return error.what();
  }
}

TEST(Resolve, FailKeyNamesThePlace) {
  const Config config = parse_config("[deny]\nmode = \"b\"\n", "f.toml", {"key.m=96"});
  EXPECT_EQ(failed_key(config, "deny.mode"), "f.toml:2: deny.mode = \"B\": accepted: something else");
  EXPECT_EQ(failed_key(config, "key.m"), "command line: key.m = 96: accepted: something else");
  EXPECT_EQ(failed_key(config, "optim.lr"), "default: optim.lr = 0.001: accepted: something else");
  try {
    fail_key(config, "no.key", "");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::run_failed);  // a programmer's mistake
  }
}

TEST(Resolve, Nearest) {
  const std::vector<std::string> words = {"gamma", "global_batch", "m", "lr", "B_aux"};
  EXPECT_EQ(nearest("gama", words), "gamma");
  EXPECT_EQ(nearest("agmma", words), "gamma");
  EXPECT_EQ(nearest("GAMMA", words), "gamma");
  EXPECT_EQ(nearest("global-batch", words), "global_batch");
  EXPECT_EQ(nearest("batch", words), "global_batch");
  EXPECT_EQ(nearest("rl", words), "lr");
  EXPECT_EQ(nearest("b_aux", words), "B_aux");
  EXPECT_EQ(nearest("x", words), "");
  EXPECT_EQ(nearest("banana", words), "");
  EXPECT_EQ(nearest("", words), "");
}

TEST(Resolve, HelpTellsEveryKey) {
  const std::string help = describe_fields();
  const std::string page = fields_markdown();
  std::size_t keys = 0;
  for (const Changed& change : every_change(Config{})) {
    ++keys;
    EXPECT_NE(help.find("  " + change.key + " = "), std::string::npos) << change.key;
    EXPECT_NE(page.find("| `" + change.key + "` | "), std::string::npos) << change.key;
    const bool in_hash = page.substr(page.find("`" + change.key + "`")).find(" | yes |") <
                         page.substr(page.find("`" + change.key + "`")).find(" | no |");
    EXPECT_EQ(in_hash, !unhashed.contains(change.key)) << change.key;
  }
  EXPECT_EQ(keys, 68U + later.size());
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 120U) << line;
  // Bounds and the other default of one key, wherever the line was broken.
  std::istringstream words(help);
  std::string flowing;
  for (std::string word; words >> word;) flowing += word + " ";
  EXPECT_NE(flowing.find("eval.keys = 16 correct and wrong keys"), std::string::npos);
  EXPECT_NE(flowing.find("(an integer from 0 to 1000000; 0 under compat = \"reference\")"), std::string::npos);
}

// docs/configuration.md is the output of fields_markdown(). SPANKEY_UPDATE_DOCS=1 writes it anew.
TEST(Resolve, DocumentationIsCurrent) {
  const char* source = std::getenv("SPANKEY_SOURCE_DIR");
  ASSERT_NE(source, nullptr) << "run through ctest";
  const std::string path = std::string(source) + "/docs/configuration.md";
  if (std::getenv("SPANKEY_UPDATE_DOCS")) std::ofstream(path) << fields_markdown();
  EXPECT_EQ(read_text(path), fields_markdown()) << "run again with SPANKEY_UPDATE_DOCS=1";
}

}  // namespace
}  // namespace spankey::resolve_test
