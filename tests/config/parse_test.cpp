// Reading configurations: what is accepted, and the exact line a mistake is answered with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/error.h"
#include "config/config.h"

namespace spankey::parse_test {
namespace {

// What() of the Error(bad_input) that reading throws; "" when nothing is thrown.
std::string refusal(std::string_view toml, const std::vector<std::string>& overrides = {}) {
  try {
    parse_config(toml, "f.toml", overrides);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_input);
    return error.what();
  }
  return "";
}

class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("spankey_config_test_" + std::to_string(::getpid()))) {
    std::filesystem::create_directories(path_);
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::filesystem::path write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary) << content;
    return path_ / name;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string file_refusal(const std::filesystem::path& file) {
  try {
    load_config(file);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_input);
    return error.what();
  }
  return "";
}

TEST(Parse, ReadsEveryKindOfValue) {
  const Config config = parse_config(R"(
run.seed = 7
[data]
file = "mnist.h5"   # a comment
[key]
gamma = 1           # an integer where a number is wanted
inject = "ADD"      # any case
layers = [0, 2]
per_layer_key = true
[deny]
mode = "B"
on = ["wrong", "None"]
[optim]
betas = [0, 0.99]
lr = 1e-4
)",
                                     "f.toml");
  EXPECT_EQ(config.run.seed, 7);
  EXPECT_EQ(config.data.file, "mnist.h5");
  EXPECT_EQ(config.key.gamma, 1.0);
  EXPECT_EQ(config.key.inject, Inject::add);
  EXPECT_EQ(config.key.layers, (std::vector<std::int64_t>{0, 2}));
  EXPECT_TRUE(config.key.per_layer_key);
  EXPECT_EQ(config.deny.mode, "B");
  EXPECT_EQ(config.deny.on, (std::vector<Pass>{Pass::wrong, Pass::none}));
  EXPECT_EQ(config.optim.betas, (std::vector<double>{0.0, 0.99}));
  EXPECT_EQ(config.optim.lr, 1e-4);
  EXPECT_EQ(config.key.m, 8);  // untouched
}

TEST(Parse, OverridesWinAndTheLastOneCounts) {
  const Config config = parse_config("[key]\ngamma = 0.25\n", "f.toml",
                                     {"key.gamma=1.0", "key.gamma=2", "data.file=a folder/mnist.h5", "run.name=2026",
                                      "key.layers=[0,1]", "deny.on=[\"wrong\",\"none\"]", "train.drop_last=false",
                                      " optim.name = sgd ", "model.name=\"mlp\"", "data.augment=affine"});
  EXPECT_EQ(config.key.gamma, 2.0);
  EXPECT_EQ(config.data.file, "a folder/mnist.h5");
  EXPECT_EQ(config.run.name, "2026");
  EXPECT_EQ(config.key.layers, (std::vector<std::int64_t>{0, 1}));
  EXPECT_EQ(config.deny.on.size(), 2U);
  EXPECT_FALSE(config.train.drop_last);
  EXPECT_EQ(config.optim.name, "sgd");
  EXPECT_EQ(config.model.name, "mlp");
  EXPECT_EQ(config.data.augment, Augment::affine);
}

TEST(Parse, CharactersOutsideAsciiInStringsAndComments) {
  const std::string text =
      "\xef\xbb\xbf# \xef\xb9\xa6 \"\n[run]\nname = \"\\\"\xe9\x8d\xb5 # \xef\xb9\xa6\" # '\xc3\xa9\n";
  EXPECT_EQ(parse_config(text, "f.toml").run.name, "\"\xe9\x8d\xb5 # \xef\xb9\xa6");
  EXPECT_EQ(parse_config("[run]\nname = '\xef\xb9\xa6\\'\n", "f.toml").run.name, "\xef\xb9\xa6\\");
  EXPECT_EQ(parse_config("", "f.toml", {"run.name=\xef\xb9\xa6"}).run.name, "\xef\xb9\xa6");
}

// An override cannot smuggle in a second key.
TEST(Parse, OverrideIsOneValue) {
  const Config config = parse_config("", "f.toml", {"run.name=1\nkey = 2"});
  EXPECT_EQ(config.run.name, "1\nkey = 2");
}

TEST(Parse, UnknownNames) {
  EXPECT_EQ(
      refusal("[key]\nm = 4\ngama = 0.5\n"),
      "f.toml:3: key.gama = 0.5: unknown key; accepted in [key]: m, gamma, inject, layers, target_std, rescale, "
      "alpha, basis, layout, per_layer_key, multiplier, permute, norm_clamp, seed, private; did you mean 'key.gamma'?");
  EXPECT_EQ(refusal("[checkpoint]\nzzzz = true\n"),
            "f.toml:2: checkpoint.zzzz = true: unknown key; accepted in [checkpoint]: every_steps, keep, async");
  EXPECT_EQ(
      refusal("[checkpoint]\nlr = 1\n"),
      "f.toml:2: checkpoint.lr = 1: unknown key; accepted in [checkpoint]: every_steps, keep, async; did you mean "
      "'optim.lr'?");
  EXPECT_EQ(refusal("[checkpoint]\nKeep = 1\n"),
            "f.toml:2: checkpoint.Keep = 1: unknown key; accepted in [checkpoint]: every_steps, keep, async; did you "
            "mean 'checkpoint.keep'?");
  EXPECT_EQ(refusal("[checkpoint.keep]\nfirst = 1\n"), "f.toml:1: checkpoint.keep = {...}: accepted: an integer >= 1");
  EXPECT_EQ(refusal("\n[trian]\nepochs = 3\n"),
            "f.toml:2: [trian]: unknown table; accepted: run, data, model, key, deny, optim, train, train.early_stop, "
            "dist, checkpoint, "
            "eval; did you mean 'train'?");
  EXPECT_EQ(refusal("gamma = 1.0\n"),
            "f.toml:1: gamma = 1.0: unknown key; accepted: keys inside the tables run, data, model, key, deny, optim, "
            "train, train.early_stop, dist, checkpoint, eval; did you mean 'key.gamma'?");
}

// The first mistake of the file is the one that is named, whatever the order of the names.
TEST(Parse, FirstMistakeFirst) {
  EXPECT_THAT(refusal("[train]\nepochs = 0\n[data]\nlimit = -1\n"), testing::StartsWith("f.toml:2: train.epochs = 0:"));
  EXPECT_THAT(refusal("[data]\nlimit = -1\n[train]\nepochs = 0\n"), testing::StartsWith("f.toml:2: data.limit = -1:"));
}

TEST(Parse, WrongTypes) {
  EXPECT_EQ(refusal("[key]\nm = 8.0\n"), "f.toml:2: key.m = 8.0: accepted: an integer >= 1; an integer is written 8");
  EXPECT_EQ(refusal("[key]\nm = \"8\"\n"), "f.toml:2: key.m = \"8\": accepted: an integer >= 1");
  EXPECT_EQ(refusal("[key]\ngamma = \"strong\"\n"), "f.toml:2: key.gamma = \"strong\": accepted: a number >= 0");
  EXPECT_EQ(refusal("[key]\ngamma = true\n"), "f.toml:2: key.gamma = true: accepted: a number >= 0");
  EXPECT_EQ(refusal("[key]\nprivate = 1\n"), "f.toml:2: key.private = 1: accepted: true or false");
  EXPECT_EQ(refusal("[key]\nlayers = 0\n"),
            "f.toml:2: key.layers = 0: accepted: a list of integers >= 0, strictly ascending, not empty");
  EXPECT_EQ(refusal("[key]\nlayers = [0, 1.5]\n"),
            "f.toml:2: key.layers = [0, 1.5]: accepted: a list of integers >= 0, strictly ascending, not empty");
  EXPECT_EQ(refusal("[data]\nfile = 3\n"), "f.toml:2: data.file = 3: accepted: a string that is not empty");
  EXPECT_EQ(refusal("[run]\nname = 2026-01-02\n"), "f.toml:2: run.name = 2026-01-02: accepted: a string");
  EXPECT_EQ(refusal("[run]\nseed = { a = 1 }\n"), "f.toml:2: run.seed = {...}: accepted: an integer >= 0");
  EXPECT_EQ(refusal("[run]\nseed = [ ]\n"), "f.toml:2: run.seed = []: accepted: an integer >= 0");
  EXPECT_EQ(refusal("key = 3\n"), "f.toml:1: key = 3: accepted: a table, [key]");
  EXPECT_EQ(refusal("[[key]]\nm = 3\n"), "f.toml:1: key = [{...}]: accepted: a table, [key]");
}

TEST(Parse, WrongWords) {
  EXPECT_EQ(refusal("[key]\ninject = \"mull\"\n"),
            "f.toml:2: key.inject = \"mull\": accepted: \"add\" or \"mul\"; did you mean 'mul'?");
  EXPECT_EQ(refusal("[key]\ninject = 1\n"), "f.toml:2: key.inject = 1: accepted: \"add\" or \"mul\"");
  EXPECT_EQ(
      refusal("[optim]\nschedule = \"\"\n"),
      "f.toml:2: optim.schedule = \"\": accepted: \"constant\", \"step\", \"multistep\", \"cosine\" or \"linear\"");
  EXPECT_EQ(refusal("[train]\nprecision = \"half\"\n"),
            "f.toml:2: train.precision = \"half\": accepted: \"float32\" or \"bf16\"");
  EXPECT_EQ(refusal("[deny]\non = [\"wrong\", \"nothing\"]\n"),
            "f.toml:2: deny.on = [\"wrong\", \"nothing\"]: accepted: a list of \"wrong\" or \"none\", none twice, not "
            "empty");
}

// A name of a registry: the key it was written for, the value once, the nearest and all that is accepted.
TEST(Parse, WrongNames) {
  EXPECT_EQ(refusal("[deny]\nmode = \"cpluss\"\n"),
            "f.toml:2: deny.mode = \"cpluss\": accepted: \"none\", \"A\", \"A_soft\", \"B\", \"B_aux\", \"BS\", "
            "\"BU\", \"U\", \"C\", \"cplus\" or \"AC\"; did you mean 'cplus'?");
  EXPECT_EQ(
      refusal("", {"model.name=small-cn"}),
      "command line: model.name = \"small-cn\": accepted: \"mlp\", \"small_cnn\", \"small_resnet\", \"resnet18\" or "
      "\"vit_tiny\"; did you mean 'small_cnn'?");
  EXPECT_EQ(refusal("", {"optim.name=adamm"}),
            "command line: optim.name = \"adamm\": accepted: \"adam\", \"adamw\" or \"sgd\"; did you mean 'adam'?");
  EXPECT_EQ(refusal("", {"optim.name="}), "command line: optim.name = \"\": accepted: \"adam\", \"adamw\" or \"sgd\"");
  for (const char* key : {"deny.families", "eval.families"}) {
    EXPECT_THAT(
        refusal("", {std::string(key) + "=[\"gaussian\", \"near_mis\"]"}),
        testing::AllOf(testing::StartsWith(std::string("command line: ") + key +
                                           " = [\"gaussian\", \"near_mis\"]: accepted: a list of \"gaussian\", "),
                       testing::EndsWith("; did you mean 'near_miss'?")));
    // The same one in another case is named twice.
    EXPECT_THAT(refusal("", {std::string(key) + "=[\"gaussian\", \"Gaussian\"]"}), testing::HasSubstr("none twice"));
  }
  EXPECT_EQ(refusal("[data]\nfile = \"builtin:glyhps\"\n"),
            "f.toml:2: data.file = \"builtin:glyhps\": no such built-in data set; accepted: builtin:glyphs, "
            "builtin:argmax, or the path of a file; did you mean 'builtin:glyphs'?");
}

TEST(Parse, NamesAreTakenAsTheRegistryWritesThem) {
  const Config config = parse_config(
      "", "f.toml",
      {"deny.mode=b_AUX", "model.name=ResNet18", "optim.name=SGD", "eval.families=[\"Gaussian\"]", "key.layers=[0]"});
  EXPECT_EQ(config.deny.mode, "B_aux");
  EXPECT_EQ(config.model.name, "resnet18");
  EXPECT_EQ(config.optim.name, "sgd");
  EXPECT_EQ(config.eval.families, std::vector<std::string>{"gaussian"});
}

// On the command line a number may lack a digit beside its point; the value itself is TOML's.
TEST(Parse, NumbersAsTheyAreTyped) {
  const auto lr = [](const std::string& word) { return parse_config("", "f.toml", {"optim.lr=" + word}).optim.lr; };
  EXPECT_EQ(lr(".5"), 0.5);
  EXPECT_EQ(lr("+.5"), 0.5);
  EXPECT_EQ(lr("5."), 5.0);
  EXPECT_EQ(lr("5.e-1"), 0.5);
  EXPECT_EQ(lr(".5E+1"), 5.0);
  EXPECT_EQ(lr("1_000"), 1000.0);
  EXPECT_EQ(lr("0x10"), 16.0);
  EXPECT_EQ(lr("1e11"), 1e11);
  EXPECT_EQ(parse_config("", "f.toml", {"optim.betas=[.9,.99]"}).optim.betas, (std::vector<double>{0.9, 0.99}));
  EXPECT_EQ(parse_config("", "f.toml", {"run.seed=9223372036854775807"}).run.seed, INT64_MAX);
  EXPECT_EQ(parse_config("", "f.toml", {"run.seed=1_000"}).run.seed, 1000);
  EXPECT_EQ(parse_config("", "f.toml", {"run.seed=0x10"}).run.seed, 16);
  // Texts stay as they are.
  for (const char* word : {".5", "5.", "v.5", "a, .5", "1.2.3", "[.5]", "'.5", "010"})
    EXPECT_EQ(parse_config("", "f.toml", {std::string("run.name=") + word}).run.name, word);
}

TEST(Parse, NumbersThatAreNone) {
  const std::string lr = "accepted: a number > 0", seed = "accepted: an integer >= 0";
  const auto line = [](const std::string& key, const std::string& word) { return refusal("", {key + "=" + word}); };
  EXPECT_EQ(line("optim.lr", "0,001"),
            "command line: optim.lr = \"0,001\": " + lr + "; the point of a number is a point, 0.001");
  EXPECT_EQ(line("optim.lr", "007"),
            "command line: optim.lr = \"007\": " + lr + "; a number is written without leading zeros, 7");
  EXPECT_EQ(line("optim.lr", "1e"),
            "command line: optim.lr = \"1e\": " + lr + "; a number is written 0.5, 1e-3 or 1_000");
  EXPECT_EQ(line("optim.lr", "50%"),
            "command line: optim.lr = \"50%\": " + lr + "; a number is written 0.5, 1e-3 or 1_000");
  for (const std::string word : {"inf", "-inf", "nan", "Infinity", "NaN"})
    EXPECT_THAT(line("optim.lr", word), testing::EndsWith(lr + "; infinity and NaN are no values here")) << word;
  EXPECT_EQ(line("optim.lr", "fast"), "command line: optim.lr = \"fast\": " + lr);
  EXPECT_EQ(line("run.seed", "9223372036854775808"),
            "command line: run.seed = \"9223372036854775808\": " + seed + "; integers go up to 9223372036854775807");
  EXPECT_EQ(line("run.seed", "1e3"), "command line: run.seed = 1000.0: " + seed + "; an integer is written 1000");
  EXPECT_EQ(line("run.seed", "5."), "command line: run.seed = 5.0: " + seed + "; an integer is written 5");
  EXPECT_EQ(line("run.seed", ".5"), "command line: run.seed = 0.5: " + seed);
  EXPECT_EQ(line("eval.keys", "1e11"),
            "command line: eval.keys = 100000000000.0: accepted: an integer from 0 to 1000000; an integer is written "
            "100000000000");
  EXPECT_EQ(line("eval.keys", "100000000000"),
            "command line: eval.keys = 100000000000: accepted: an integer from 0 to 1000000");
  EXPECT_EQ(
      line("key.layers", "0,2"),
      "command line: key.layers = \"0,2\": accepted: a list of integers >= 0, strictly ascending, not empty; a list "
      "is written [0,2]");
}

// A file is TOML: other tools read it too.
TEST(Parse, NumbersOfAFileAreWrittenAsInToml) {
  const auto file = [](const std::string& value) { return refusal("[optim]\nlr = " + value + "  # as .7\n"); };
  for (const auto& [wrong, right] : {std::pair{".5", "0.5"}, {"5.", "5.0"}, {"+.5", "+0.5"}, {"5.e1", "5.0e1"}})
    EXPECT_THAT(file(wrong), testing::AllOf(testing::StartsWith("f.toml:2: not valid TOML: "),
                                            testing::EndsWith(std::string("; a number is written ") + right)))
        << wrong;
  EXPECT_THAT(file("9223372036854775808"), testing::EndsWith("; integers go up to 9223372036854775807"));
  EXPECT_THAT(file("0,001"), testing::StartsWith("f.toml:2: not valid TOML: "));
  EXPECT_THAT(file("007"), testing::EndsWith("; a number is written without leading zeros, 7"));
  EXPECT_EQ(file("1_0.0"), "");
  EXPECT_EQ(refusal("[optim]\nbetas = [0.9,\n.99]\n").find("not valid TOML"), 10U);
}

TEST(Parse, OutOfRange) {
  EXPECT_EQ(refusal("[key]\nm = 0\n"), "f.toml:2: key.m = 0: accepted: an integer >= 1");
  EXPECT_EQ(refusal("[run]\nseed = -1\n"), "f.toml:2: run.seed = -1: accepted: an integer >= 0");
  EXPECT_EQ(refusal("[key]\ngamma = -0.5\n"), "f.toml:2: key.gamma = -0.5: accepted: a number >= 0");
  EXPECT_EQ(refusal("[key]\ngamma = nan\n"),
            "f.toml:2: key.gamma = nan: accepted: a number >= 0; infinity and NaN are no values here");
  EXPECT_EQ(refusal("[key]\ngamma = inf\n"),
            "f.toml:2: key.gamma = inf: accepted: a number >= 0; infinity and NaN are no values here");
  EXPECT_EQ(refusal("[key]\ntarget_std = 0.0\n"), "f.toml:2: key.target_std = 0.0: accepted: a number > 0");
  EXPECT_EQ(refusal("[optim]\nmomentum = 1.0\n"), "f.toml:2: optim.momentum = 1.0: accepted: a number >= 0 and < 1");
  EXPECT_EQ(refusal("[optim]\nschedule_factor = 0\n"),
            "f.toml:2: optim.schedule_factor = 0: accepted: a number > 0 and <= 1");
  EXPECT_EQ(refusal("[train]\nepochs = 1000001\n"),
            "f.toml:2: train.epochs = 1000001: accepted: an integer from 1 to 1000000");
  EXPECT_EQ(refusal("[data]\nfile = \"\"\n"), "f.toml:2: data.file = \"\": accepted: a string that is not empty");
  // Bounds that belong to the interval.
  EXPECT_EQ(refusal("[optim]\nmomentum = 0\nschedule_factor = 1\n[train]\nepochs = 1000000\n[key]\ngamma = 0\n"), "");
}

TEST(Parse, Lists) {
  const std::string layers = "accepted: a list of integers >= 0, strictly ascending, not empty";
  EXPECT_EQ(refusal("[key]\nlayers = []\n"), "f.toml:2: key.layers = []: " + layers);
  EXPECT_EQ(refusal("[key]\nlayers = [0, 0]\n"), "f.toml:2: key.layers = [0, 0]: " + layers);
  EXPECT_EQ(refusal("[key]\nlayers = [2, 0]\n"), "f.toml:2: key.layers = [2, 0]: " + layers);
  EXPECT_EQ(refusal("[key]\nlayers = [-1, 0]\n"), "f.toml:2: key.layers = [-1, 0]: " + layers);
  EXPECT_EQ(refusal("[optim]\nmilestones = [50, 25]\n"),
            "f.toml:2: optim.milestones = [50, 25]: accepted: a list of integers >= 1, strictly ascending");
  EXPECT_EQ(refusal("[optim]\nmilestones = []\n"), "");
  EXPECT_EQ(refusal("[optim]\nbetas = [0.9]\n"),
            "f.toml:2: optim.betas = [0.9]: accepted: a list of 2 numbers >= 0 and < 1");
  EXPECT_EQ(refusal("[optim]\nbetas = [0.9, 1.0]\n"),
            "f.toml:2: optim.betas = [0.9, 1.0]: accepted: a list of 2 numbers >= 0 and < 1");
  EXPECT_EQ(
      refusal("[deny]\non = [\"wrong\", \"wrong\"]\n"),
      "f.toml:2: deny.on = [\"wrong\", \"wrong\"]: accepted: a list of \"wrong\" or \"none\", none twice, not empty");
  EXPECT_THAT(refusal("[eval]\nfamilies = []\n"),
              testing::AllOf(testing::StartsWith("f.toml:2: eval.families = []: accepted: a list of \"gaussian\", "),
                             testing::EndsWith(" or \"near_miss\", none twice, not empty")));
}

TEST(Parse, ATableInATable) {
  const auto written = parse_config(
      "[train]\nepochs = 3\n[train.early_stop]\nmetric = \"withheld\"\ngoal = \"MIN\"\npatience = 2\n", "f.toml",
      {"train.early_stop.min_epochs=1", "train.early_stop.metric=correct_key.accuracy - no_key.accuracy"});
  const auto& rule = written.train.early_stop;
  EXPECT_EQ(written.train.epochs, 3);
  EXPECT_EQ(rule.metric, "correct_key.accuracy - no_key.accuracy");
  EXPECT_EQ(rule.goal, Goal::min);
  EXPECT_EQ(rule.patience, 2);
  EXPECT_EQ(rule.min_epochs, 1);
  EXPECT_EQ(written.origins.at("train.early_stop.patience"), "f.toml:6");
  const auto inline_table = parse_config("[train]\nearly_stop = { metric = \"withheld\" }\n", "f.toml");
  EXPECT_EQ(inline_table.train.early_stop.metric, "withheld");
  EXPECT_EQ(
      refusal("[train.early_stop]\nmetrik = \"withheld\"\n"),
      "f.toml:2: train.early_stop.metrik = \"withheld\": unknown key; accepted in [train.early_stop]: metric, goal, "
      "patience, min_improvement, min_epochs; did you mean 'train.early_stop.metric'?");
  EXPECT_EQ(refusal("[train]\nearly_stop = 3\n"),
            "f.toml:2: train.early_stop = 3: accepted: a table, [train.early_stop]");
  EXPECT_EQ(refusal("", {"train.early_stop=3"}),
            "command line: train.early_stop = 3: accepted: a table, [train.early_stop]");
  EXPECT_THAT(refusal("[train.erly_stop]\npatience = 3\n"),
              testing::AllOf(testing::HasSubstr("f.toml:1: [train.erly_stop]: unknown table"),
                             testing::HasSubstr("did you mean 'train.early_stop'?")));
  EXPECT_EQ(refusal("[train.early_stop]\nmetric = \"withheld\"\npatience = 0\n"),
            "f.toml:3: train.early_stop.patience = 0: accepted: an integer from 1 to 1000000");
}

TEST(Parse, AnEarlyStopThatCannotBeIsRefused) {
  EXPECT_EQ(refusal("[train.early_stop]\npatience = 3\n"),
            "f.toml:2: train.early_stop.patience = 3: nothing stops the run; accepted: together with "
            "train.early_stop.metric");
  EXPECT_EQ(refusal("[train.early_stop]\nmetric = \"withheld\"\n[eval]\nevery_epochs = 0\n"),
            "f.toml:4: eval.every_epochs = 0: no epoch but the last is evaluated; accepted with "
            "train.early_stop.metric: eval.every_epochs >= 1");
  EXPECT_EQ(refusal("[train.early_stop]\nmetric = \"withheld\"\npatience = 3\nmin_improvement = 0.01\n"), "");
}

TEST(Parse, RulesBetweenKeys) {
  EXPECT_EQ(refusal("[deny]\non = [\"none\"]\n"), "");
  EXPECT_EQ(refusal("[deny]\nmode = \"U\"\non = [\"none\"]\nadversarial_steps = 3\n"),
            "f.toml:4: deny.adversarial_steps = 3: deny.on has no pass with a wrong key; accepted: "
            "deny.adversarial_steps = 0, or \"wrong\" in deny.on");
  EXPECT_EQ(refusal("[deny]\nmode = \"BU\"\nadversarial_steps = 3\nfeature_weight = 1.0\n"), "");
  EXPECT_EQ(refusal("[deny]\nadversarial_steps = 3\n"),
            "f.toml:2: deny.adversarial_steps = 3: nothing is denied; accepted under deny.mode = \"none\": "
            "deny.adversarial_steps = 0");
  EXPECT_EQ(refusal("[deny]\nfeature_weight = 0.5\n"),
            "f.toml:2: deny.feature_weight = 0.5: nothing is denied; accepted under deny.mode = \"none\": "
            "deny.feature_weight = 0");
  EXPECT_EQ(refusal("[deny]\nmode = \"B\"\nadversarial_steps = 1\n[train]\ncapture = \"on\"\n"),
            "f.toml:5: train.capture = \"on\": deny.adversarial_steps moves the wrong key on the host; accepted: "
            "\"auto\" or \"off\"");
  // The vanilla twin denies nothing, and its resolved file reads back.
  const auto twin = parse_config("[deny]\nmode = \"B\"\nadversarial_steps = 1\nfeature_weight = 1.0\n", "f.toml",
                                 {"train.twin=vanilla"});
  EXPECT_EQ(parse_config(to_toml(canonical(twin)), "g.toml"), canonical(twin));
  EXPECT_EQ(
      refusal("[dist]\nreduction = \"elastic\"\nshards = 3\n"),
      "f.toml:3: dist.shards = 3: accepted under dist.reduction = \"elastic\": a power of two, or 0 for automatic");
  EXPECT_EQ(refusal("[train]\nglobal_batch = 100\n[dist]\nreduction = \"elastic\"\nshards = 8\n"),
            "f.toml:2: train.global_batch = 100: accepted under dist.reduction = \"elastic\": train.global_batch "
            "divisible by dist.shards; 100 is not divisible by 8");
  EXPECT_EQ(refusal("[dist]\nreduction = \"elastic\"\nshards = 256\n"),
            "f.toml:3: dist.shards = 256: accepted under dist.reduction = \"elastic\": train.global_batch divisible by "
            "dist.shards; 128 is not divisible by 256");
  // The other reduction takes uneven shards, and automatic shards are settled later.
  EXPECT_EQ(refusal("[train]\nglobal_batch = 100\n[dist]\nshards = 3\n"), "");
  EXPECT_EQ(refusal("[train]\nglobal_batch = 99\n[dist]\nreduction = \"elastic\"\n"), "");
  EXPECT_EQ(refusal("[dist]\nreduction = \"elastic\"\nshards = 4\n"), "");

  EXPECT_EQ(
      refusal("[key]\nbasis = \"cone\"\nalpha = \"gauss\"\n"),
      "f.toml:3: key.alpha = \"gauss\": has negative coefficients, which leave the cone; accepted under key.basis "
      "= \"cone\": key.alpha = \"u01\" or \"simplex\"");
  EXPECT_EQ(refusal("[key]\nbasis = \"cone\"\nalpha = \"simplex\"\n"), "");
  EXPECT_EQ(refusal("[key]\npermute = [2]\n"),
            "f.toml:2: key.permute = [2]: valid keys have the same signs, which say what changes places, on a cone "
            "alone; accepted: key.permute = [], or key.basis = \"cone\"");
  EXPECT_EQ(
      refusal("[key]\nbasis = \"cone\"\npermute = [0, 2]\n"),
      "f.toml:3: key.permute = [0, 2]: accepted for small_cnn: injection points among 1, 2, which have features to "
      "move");
  EXPECT_THAT(refusal("[key]\nbasis = \"cone\"\npermute = [2]\n[train]\ntwin = \"noise\"\n"),
              testing::HasSubstr("a noise key has signs of its own for each sample"));
  EXPECT_THAT(refusal("[key]\nbasis = \"cone\"\npermute = [2]\n[train]\ncapture = \"on\"\n"),
              testing::HasSubstr("key.permute reads the signs of a wrong key on the host"));
  EXPECT_THAT(refusal("[key]\nnorm_clamp = true\nrescale = \"batch\"\n"),
              testing::HasSubstr("accepted with key.norm_clamp = true: key.rescale = \"key\""));
  EXPECT_THAT(refusal("[key]\nnorm_clamp = true\n[deny]\nfamilies = [\"scaled\"]\n"),
              testing::HasSubstr("a clamped \"scaled\" key is valid"));

  EXPECT_EQ(refusal("[key]\nlayers = [0, 3]\n"),
            "f.toml:2: key.layers = [0, 3]: small_cnn has injection points 0 to 2; accepted: key.layers among them");
  EXPECT_EQ(refusal("[model]\nname = \"vit_tiny\"\n", {"key.layers=[2]"}),
            "command line: key.layers = [2]: vit_tiny has injection points 0 to 1; accepted: key.layers among them");
  EXPECT_EQ(refusal("[key]\nlayers = [0, 2]\nm = 785\n"),
            "f.toml:3: key.m = 785: accepted: key.m from 1 to 784, the width of the narrowest of the layers 0, 2");
  EXPECT_EQ(refusal("[key]\nm = 784\n"), "");
  // How wide the input of mlp is the data tell; its hidden layers are known.
  EXPECT_EQ(refusal("[model]\nname = \"mlp\"\n[key]\nm = 5000\n"), "");
  EXPECT_THAT(refusal("[model]\nname = \"mlp\"\n[key]\nm = 33\nlayers = [0, 2]\n"), testing::HasSubstr("from 1 to 32"));
  EXPECT_THAT(
      refusal("[dist]\nreduction = \"elastic\"\n", {"model.sync_batchnorm=true"}),
      testing::StartsWith("command line: model.sync_batchnorm = true: dist.reduction = \"elastic\" normalises"));
  EXPECT_THAT(refusal("[dist]\nbackend = \"nccl\"\n[train]\ndevice = \"cpu\"\n"),
              testing::StartsWith("f.toml:2: dist.backend = \"nccl\": NCCL is for tensors on GPUs; accepted under"));
  for (const char* host :
       {"train.twin=noise", "train.twin=fixed_key", "key.alpha=codebook", "deny.families=[\"sparse\"]"}) {
    EXPECT_THAT(refusal("", {"train.capture=on", host}),
                testing::AllOf(testing::StartsWith("command line: train.capture = \"on\": "),
                               testing::EndsWith("; accepted: \"auto\" or \"off\"")))
        << host;
    EXPECT_EQ(refusal("", {host}), "");
  }
  EXPECT_EQ(refusal("[data]\nlimit = 100\n"),
            "f.toml:2: data.limit = 100: data.limit leaves 100 samples; accepted: train.global_batch of at most that "
            "with train.drop_last = true");
  EXPECT_EQ(refusal("[data]\nlimit = 100\n[train]\ndrop_last = false\n"), "");

  EXPECT_EQ(
      refusal("[optim]\nschedule = \"multistep\"\n"),
      "f.toml:2: optim.schedule = \"multistep\": accepted under optim.schedule = \"multistep\": at least one value "
      "in optim.milestones");
  EXPECT_EQ(refusal("[optim]\nschedule = \"step\"\nmilestones = [2, 4]\n"),
            "f.toml:3: optim.milestones = [2, 4]: accepted under optim.schedule = \"step\": exactly one value in "
            "optim.milestones, the period");
  EXPECT_EQ(refusal("[optim]\nschedule = \"step\"\nmilestones = [2]\n"), "");
}

// What is known once the data are open.
TEST(Parse, RulesAboutData) {
  const auto about = [](const std::vector<std::string>& overrides, const DataFacts& data) -> std::string {
    try {
      check_data(parse_config("", "f.toml", overrides), data);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_input);
      return error.what();
    }
    return "";
  };
  const DataFacts digits{{1, 28, 28}, 10, 200}, features{{20}, 10, 200};
  EXPECT_EQ(about({}, digits), "");
  EXPECT_EQ(about({"model.name=mlp"}, features), "");
  EXPECT_EQ(about({"model.name=mlp"}, digits),
            "command line: model.name = \"mlp\": mlp takes samples of shape (D), those of builtin:glyphs have (1, 28, "
            "28); accepted for these data: small_cnn, small_resnet");
  EXPECT_EQ(
      about({"data.file=f.h5"}, features),
      "command line: data.file = \"f.h5\": small_cnn takes samples of shape (1, 28, 28), those of f.h5 have (20); "
      "accepted for these data: mlp");
  EXPECT_THAT(about({}, {{2, 5, 5}, 10, 200}), testing::EndsWith("accepted for these data: no network of ours"));
  EXPECT_EQ(about({"model.name=mlp", "key.m=21"}, features),
            "command line: key.m = 21: accepted: key.m from 1 to 20, the width of the narrowest of the layers 0");
  EXPECT_EQ(
      about({"train.global_batch=201"}, digits),
      "command line: train.global_batch = 201: the training split has 200 samples; accepted: train.global_batch of "
      "at most that with train.drop_last = true");
  EXPECT_EQ(about({"train.global_batch=201", "train.drop_last=false"}, digits), "");
  EXPECT_THAT(about({"model.name=mlp", "data.augment=affine"}, features), testing::HasSubstr("features, not images"));
  EXPECT_THAT(about({}, {{1, 28, 28}, 1, 200}), testing::HasSubstr("accepted: data of 2 classes or more"));
}

TEST(Parse, Overrides) {
  EXPECT_EQ(refusal("", {"key.gamma=strong"}), "command line: key.gamma = \"strong\": accepted: a number >= 0");
  EXPECT_EQ(refusal("", {"key.gamma="}), "command line: key.gamma = \"\": accepted: a number >= 0");
  EXPECT_EQ(refusal("", {"key.gamma"}),
            "command line: \"key.gamma\": accepted: table.key=value, such as key.gamma=1.0");
  EXPECT_EQ(
      refusal("", {"gamma=1"}),
      "command line: gamma = 1: unknown key; accepted: keys inside the tables run, data, model, key, deny, optim, "
      "train, train.early_stop, dist, checkpoint, eval; did you mean 'key.gamma'?");
  EXPECT_EQ(
      refusal("", {"checkpoint.kep=1"}),
      "command line: checkpoint.kep = 1: unknown key; accepted in [checkpoint]: every_steps, keep, async; did you "
      "mean 'checkpoint.keep'?");
  EXPECT_EQ(
      refusal("", {"trian.epochs=1"}),
      "command line: trian.epochs = 1: unknown table 'trian'; accepted: run, data, model, key, deny, optim, train, "
      "train.early_stop, dist, checkpoint, eval; did you mean 'train'?");
  EXPECT_EQ(refusal("[dist]\nreduction = \"elastic\"\n", {"dist.shards=6"}),
            "command line: dist.shards = 6: accepted under dist.reduction = \"elastic\": a power of two, or 0 for "
            "automatic");
  // A mistake in the file is named although an override would hide it.
  EXPECT_EQ(refusal("[key]\nm = 0\n", {"key.m=4"}), "f.toml:2: key.m = 0: accepted: an integer >= 1");
}

TEST(Parse, NotToml) {
  EXPECT_THAT(refusal("[key]\nlayers = [0,\n"), testing::StartsWith("f.toml:2: not valid TOML: "));
  EXPECT_THAT(refusal("[key]\nm 3\n"), testing::StartsWith("f.toml:2: not valid TOML: "));
  EXPECT_THAT(refusal("[key]\nm = 3\nm = 4\n"), testing::StartsWith("f.toml:3: not valid TOML: "));
  EXPECT_THAT(refusal("run.name = \"\xff\xfe\"\n"), testing::StartsWith("f.toml:1: not valid TOML: "));
  EXPECT_EQ(refusal("[run]\nname = \"\"\"a\"\"\"\"\" # \xc3\xa9 \"\nseed\xef\xb9\xa6 = 1\n"),
            "f.toml:3: not valid TOML: a character outside ASCII; accepted: in comments and in strings of one line");
  EXPECT_EQ(refusal("[run]\nname = \"\"\"a \\\n  \xef\xb9\xa6\"\"\"\n"),
            "f.toml:3: not valid TOML: a character outside ASCII; accepted: in comments and in strings of one line");
  EXPECT_EQ(refusal(std::string_view("[key]\nm = 3\0\n", 13)),
            "f.toml:2: a NUL byte at offset 11: accepted: a text file in TOML");
}

// Whatever is written, the answer is one line of a readable length.
TEST(Parse, OneLine) {
  const std::vector<std::string> texts = {
      "[key]\n\"a\\nb\" = 1\n",
      "\"a\\nb\" = 1\n",
      "[key]\ninject = \"\"\"a\nb\"\"\"\n",
      "[key]\nlayers = [" + std::string(5000, ' ') + "\"" + std::string(5000, 'x') + "\"]\n",
      "[key]\nm = = \n",
      "[\"" + std::string(5000, 'k') + "\"]\n",
  };
  for (const std::string& text : texts) {
    const std::string line = refusal(text);
    EXPECT_FALSE(line.empty()) << text;
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
    EXPECT_LT(line.size(), 400U) << line;
  }
}

// Damaged files are read or refused; nothing else escapes.
TEST(Parse, DamagedTextIsRefusedInOneLine) {
  std::mt19937 random(1);  // tests only
  const std::string whole = to_toml(Config{});
  const std::vector<std::string> pieces = {"\xef\xb9\xa6", "\"\"\"", "'''", "\\\n", "[", "[[", "{", "=", "\"", "#"};
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = whole.substr(0, 1 + random() % whole.size());
    for (unsigned flips = random() % 4; flips > 0; --flips) text[random() % text.size()] = static_cast<char>(random());
    if (random() % 4 == 0) text.insert(random() % text.size(), pieces[random() % pieces.size()]);
    const std::string line = refusal(text);
    refused += line.empty() ? 0 : 1;
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
  }
  EXPECT_GT(refused, 1500);
  EXPECT_LT(refused, 3000);
}

TEST(Load, FilesThatAreNone) {
  const Folder folder;
  const std::string missing = (folder.path() / "missing.toml").string();
  EXPECT_EQ(file_refusal(missing), missing + ": no such file: accepted: a TOML configuration");
  EXPECT_EQ(file_refusal(folder.path()), folder.path().string() + ": a folder: accepted: a TOML configuration");
  for (const char* content : {"", "\n\n", "# only a comment\n"}) {
    const auto file = folder.write("empty.toml", content);
    EXPECT_EQ(file_refusal(file), file.string() +
                                      ": holds no key: accepted: a TOML configuration (spankey config --help lists the "
                                      "keys)");
  }
  const auto binary = folder.write("data.h5", std::string("\x89HDF\r\n\x1a\n\0\0\0\0", 12));
  EXPECT_EQ(file_refusal(binary), binary.string() + ":3: a NUL byte at offset 8: accepted: a text file in TOML");
  const auto truncated = folder.write("truncated.toml", "[key]\nm = 8\ninject = \"mu");
  EXPECT_THAT(file_refusal(truncated), testing::StartsWith(truncated.string() + ":3: not valid TOML: "));
}

TEST(Load, NamesTheFile) {
  const Folder folder;
  const auto file = folder.write("run.toml", "[key]\nm = 16\n");
  EXPECT_EQ(load_config(file).key.m, 16);
  EXPECT_EQ(load_config(file, {"key.m=4"}).key.m, 4);
  const auto wrong = folder.write("wrong.toml", "\n[key]\nm = -16\n");
  EXPECT_EQ(file_refusal(wrong), wrong.string() + ":3: key.m = -16: accepted: an integer >= 1");
}

}  // namespace
}  // namespace spankey::parse_test
