// predict, export, import and train --init, as a user starts them.
#include <gmock/gmock.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string_view>

#include "data/picture.h"
#include "gated_files.h"
#include "keyring/recipient.h"
#include "support/program.h"

namespace spankey::test::commands_test {
namespace {

using testing::HasSubstr;

class Commands : public GatedFiles {
 protected:
  Outcome spankey(std::vector<std::string> arguments, int ranks = 1) const {
    auto command = on_ranks(ranks, std::move(arguments));
    command.insert(command.begin(), {"env", "SPANKEY_CORES=1"});
    return run(command, folder.path());
  }

  std::string done(const std::vector<std::string>& arguments, int ranks = 1) const {
    const auto outcome = spankey(arguments, ranks);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  }

  void expect_refused(const std::vector<std::string>& arguments, const std::string& sentence) const {
    const auto outcome = spankey(arguments);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_EQ(outcome.out, "");
    EXPECT_THAT(outcome.err, HasSubstr(sentence));
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  }

  static std::vector<nlohmann::json> lines(const std::string& text) {
    std::vector<nlohmann::json> all;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) all.push_back(nlohmann::json::parse(line));
    return all;
  }

  static void expect_counts(const std::vector<nlohmann::json>& answers, const AccessCounts& expected) {
    AccessCounts found;
    for (const auto& one : answers) {
      const bool known = one.at("top").at(0).at("class") == one.at("label");
      ++found.samples;
      found.rejected += one.at("rejected").get<bool>() ? 1 : 0;
      found.strip += known ? 1 : 0;
      found.correct += known && !one.at("rejected").get<bool>() ? 1 : 0;
    }
    EXPECT_EQ(found.samples, expected.samples);
    EXPECT_EQ(found.rejected, expected.rejected);
    EXPECT_EQ(found.strip, expected.strip);
    EXPECT_EQ(found.correct, expected.correct);
  }

  Picture test_image(std::int64_t i) const {
    const auto pixels = experiment.dataset->test().images.subspan(static_cast<std::size_t>(i * 784), 784);
    return {1, 28, 28, {pixels.begin(), pixels.end()}};
  }
};

constexpr Argon2Cost cheap{.passes = 1, .memory_bytes = 8192};
const std::vector<std::string> with_key{"predict",  "model.skm",      "--key", "user.skk",
                                        "--images", "builtin:glyphs", "--json"};

TEST_F(Commands, PredictCountsWhatTheEvaluationCounts) {
  const auto none = spankey({"predict", "model.skm", "--images", "builtin:glyphs", "--json"});
  ASSERT_EQ(none.exit_code, 0) << none.err;
  expect_counts(lines(none.out), counts(Injection::none()));
  EXPECT_THAT(none.err, HasSubstr("no key: these are the answers that anybody gets"));
  const auto keyed = spankey(with_key);
  ASSERT_EQ(keyed.exit_code, 0) << keyed.err;
  expect_counts(lines(keyed.out), counts(injection()));
  EXPECT_THAT(keyed.err, HasSubstr("key 3 of Ann, valid from "));
  EXPECT_NE(keyed.out, none.out);
  EXPECT_EQ(done(with_key, 2), keyed.out);  // two ranks print the same bytes
}

TEST_F(Commands, KeysThatMustNotBeUsedAreRefused) {
  const std::vector<std::byte> other_seed(32, std::byte{1});
  const SigningKey other(other_seed);
  write_key("late.skk", [&](UserKey& key) { key.not_after = now - 60; });
  write_key("early.skk", [&](UserKey& key) { key.not_before = now + day / 2; });
  write_key("foreign.skk", [&](UserKey& key) { key.model_id = std::string(64, '0'); });
  write_key(
      "forged.skk", [](UserKey&) {}, &other);
  const RevocationList list{.model_id = to_hex(weights_digest(*experiment.model)),
                            .sequence = 1,
                            .issued_at = now,
                            .laboratory = true,
                            .keys = {{3, vectors_digest(description.sites, std::as_bytes(std::span(vectors)))}},
                            .owner = {}};
  write_durably(folder / "revoked.skl", write_revocations(list, owner));
  const auto predict = [](const std::string& key) {
    return std::vector<std::string>{"predict", "model.skm", "--key", key, "--images", "builtin:glyphs"};
  };
  expect_refused(predict("late.skk"), "late.skk: key 3 of Ann is refused: it was valid until");
  expect_refused(predict("early.skk"), "it is valid from");
  expect_refused(predict("foreign.skk"), "it belongs to model 000000000000");
  expect_refused(predict("forged.skk"), "signed by another owner");
  auto revoked = predict("user.skk");
  revoked.insert(revoked.end(), {"--revoked", "revoked.skl"});
  expect_refused(revoked, "it is revoked (list 1");
  expect_refused(revoked, "holders of the weights ignore this list");
  expect_refused({"predict", "model.skm", "--revoked", "revoked.skl", "--images", "builtin:glyphs"},
                 "--revoked is given, and --key is not");
}

// One key is sealed with a passphrase, one to a person. Both give what the open one gives.
TEST_F(Commands, SealedKeysAreOpened) {
  const auto secret = [](const std::string& text) { return SecretBytes::copy_of(std::as_bytes(std::span(text))); };
  const auto passphrase = secret("open sesame"), of_ann = secret("Ann's passphrase");
  const auto ann = fresh_recipient("Ann");
  write_key("closed.skk", [](UserKey&) {}, nullptr, {.passphrase = &passphrase, .cost = cheap});
  write_key("sent.skk", [](UserKey&) {}, nullptr, {.recipient = &ann.public_key});
  write_durably(folder / "ann.sec", write_recipient_secret(ann, of_ann, cheap), 0600);
  for (const auto& [file, text] : {std::pair("right", "open sesame\n"), std::pair("wrong", "open barley\n"),
                                   std::pair("of_ann", "Ann's passphrase\n")})
    write_durably(folder / file, std::as_bytes(std::span(std::string_view(text))), 0600);
  const auto predict = [](std::vector<std::string> more) {
    std::vector<std::string> arguments{"predict", "model.skm", "--images", "builtin:glyphs", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  const auto open = done(with_key);
  EXPECT_EQ(done(predict({"--key", "closed.skk", "--passphrase-file", "right"})), open);
  EXPECT_EQ(done(predict({"--key", "sent.skk", "--recipient", "ann.sec", "--passphrase-file", "of_ann"}), 2), open);
  expect_refused(predict({"--key", "closed.skk", "--passphrase-file", "wrong"}), "closed.skk: ");
  expect_refused(predict({"--key", "sent.skk"}), "sent.skk: the key is sealed to a person; accepted: --recipient");
  expect_refused(predict({"--key", "sent.skk", "--recipient", "ann.sec", "--passphrase-file", "right"}), "ann.sec: ");
}

// The answers go into a pipe that nobody reads for a while, so that the signal comes in the middle of them.
TEST_F(Commands, ASignalEndsItAfterTheBatchAtHand) {
  auto command = with_key;
  command.insert(command.end(), {"--split", "train"});
  const auto all = done(command);
  for (const int signal : {SIGINT, SIGTERM}) {
    const auto pipe = folder / ("answers" + std::to_string(signal));
    ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
    std::string line = "exec env SPANKEY_CORES=1 " + program();
    for (const auto& word : command) line += " " + word;
    Child child({"bash", "-c", line + " >" + pipe.string()}, folder.path());
    std::ifstream reader(pipe, std::ios::binary);  // waits for the writer
    std::string answers(1024, ' ');
    reader.read(answers.data(), std::ssize(answers));
    child.signal(signal);
    answers.append(std::istreambuf_iterator<char>(reader), {});
    const auto outcome = child.wait();
    EXPECT_EQ(outcome.exit_code, 75) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("stopped as asked: the first "));
    ASSERT_LT(answers.size(), all.size());
    EXPECT_EQ(answers, all.substr(0, answers.size()));
    EXPECT_EQ(lines(answers).size() % evaluation_batch, 0U);
    EXPECT_GT(answers.size(), 1024U);
  }
}

TEST_F(Commands, PicturesAndRequestsAreAnsweredAsTheDataSetIs) {
  std::filesystem::create_directories(folder / "pictures/inner");
  std::ofstream requests(folder / "requests", std::ios::binary);
  const auto request = [&](std::span<const std::byte> bytes) {
    const auto length = static_cast<std::uint32_t>(bytes.size());
    requests.write(reinterpret_cast<const char*>(&length), sizeof length);
    requests.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  };
  for (std::int64_t i = 0; i < 3; ++i) {
    const auto picture = test_image(i);
    const auto png = encode_png(picture);
    const auto name = i < 2 ? fmt::format("pictures/{}.png", i) : "pictures/inner/2.png";
    write_durably(folder / name, png);
    i == 1 ? request(png) : request(std::as_bytes(std::span(picture.pixels)));
  }
  request(std::as_bytes(std::span("too short")));
  requests.close();
  auto expected = lines(done(with_key));
  const auto pictures = lines(done({"predict", "model.skm", "--key", "user.skk", "--images", "pictures", "--json"}));
  const auto answered =
      run({"bash", "-c", program() + " predict model.skm --key user.skk --stdin <requests"}, folder.path());
  EXPECT_EQ(answered.exit_code, 0) << answered.err;
  const auto replies = lines(answered.out);
  ASSERT_EQ(pictures.size(), 3U);
  ASSERT_EQ(replies.size(), 4U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(pictures[i].at("answer"), expected[i].at("answer"));
    EXPECT_EQ(pictures[i].at("top").at(0).at("class"), expected[i].at("top").at(0).at("class"));
    EXPECT_EQ(replies[i].at("answer"), expected[i].at("answer"));
    EXPECT_EQ(replies[i].at("index"), i);
  }
  EXPECT_EQ(pictures[2].at("name"), "pictures/inner/2.png");
  EXPECT_THAT(replies[3].at("error").get<std::string>(),
              HasSubstr("request of 10 bytes; accepted: a PNG or JPEG file"));
  std::ofstream(folder / "pictures/bad.png") << "no picture";
  expect_refused({"predict", "model.skm", "--images", "pictures/bad.png", "--split", "train"}, "--split train");
}

// A file with holes may seem to be of any size.
TEST_F(Commands, FilesOfAbsurdSizesAreRefusedBeforeMemoryIsTaken) {
  std::ofstream(folder / "b.toml") << "[deny]\nmode='B'\n[key]\nlayers=[0,2]\n";
  for (const char* name : {"huge.skm", "huge.skk", "huge.png", "huge.safetensors"}) {
    const auto copy = std::string(name).ends_with("skm") ? "model.skm" : "user.skk";
    std::filesystem::copy_file(folder / copy, folder / name);
    std::filesystem::resize_file(folder / name, std::uintmax_t{1} << 34);
  }
  const std::string size = ": 17179869184 bytes; accepted: up to ";
  expect_refused({"predict", "huge.skm", "--images", "builtin:glyphs"}, "huge.skm" + size);
  const auto picture = spankey({"predict", "model.skm", "--images", "huge.png"});
  EXPECT_EQ(picture.exit_code, 2);
  EXPECT_THAT(picture.err, HasSubstr("huge.png" + size));
  expect_refused({"predict", "model.skm", "--key", "huge.skk", "--images", "builtin:glyphs"}, "huge.skk" + size);
  expect_refused({"predict", "model.skm", "--key", "user.skk", "--revoked", "huge.skk", "--images", "builtin:glyphs"},
                 "huge.skk" + size);
  expect_refused({"key", "verify", "user.skk", "--model", "huge.skm"}, "huge.skm" + size);
  expect_refused({"key", "show", "huge.skk"}, "huge.skk" + size);
  expect_refused({"key", "show", "huge.skm"}, "huge.skm" + size);
  expect_refused({"export", "huge.skm", "--out", "out.safetensors"}, "huge.skm" + size);
  expect_refused({"import", "--from", "huge.safetensors", "--config", "b.toml", "--out", "run"},
                 "huge.safetensors" + size);
  expect_refused({"train", "b.toml", "--run-dir", "run", "--init", "huge.safetensors"}, "huge.safetensors" + size);
}

// Whoever names a file can put line breaks and what a terminal obeys into its name.
TEST_F(Commands, EachPictureHasOneLineWhateverItsName) {
  std::filesystem::create_directories(folder / "pictures");
  write_durably(folder / "pictures/0\n1.png  5  | 5 0.9999\x1b[2K.png", encode_png(test_image(0)));
  for (const char* form : {"--top=2", "--json"}) {
    const auto out = done({"predict", "model.skm", "--images", "pictures", form});
    EXPECT_EQ(std::count(out.begin(), out.end(), '\n'), 1) << out;
    EXPECT_EQ(std::count(out.begin(), out.end(), '\x1b'), 0) << out;
  }
}

TEST_F(Commands, WeightsComeBackBitForBit) {
  std::ofstream(folder / "b.toml") << "[deny]\nmode='B'\n[key]\nlayers=[0,2]\n[train]\nepochs=1\n[dist]\nthreads=1\n"
                                      "[eval]\nkeys=1\n[data]\nlimit=128\n";
  done({"export", "model.skm", "--out", "one.safetensors"});
  done({"import", "--from", "one.safetensors", "--config", "b.toml", "--out", "run"});
  done({"export", "run", "--out", "two.safetensors"});
  const auto one = read_bytes(folder / "one.safetensors");
  EXPECT_EQ(weights_digest(weights_in(one, "one"), {}),
            weights_digest(weights_in(read_bytes(folder / "two.safetensors"), "two"), {}));
  expect_refused({"import", "--from", "one.safetensors", "--config", "b.toml", "--out", "other", "deny.mode=none"},
                 "'fc.weight' is float32 [11, 1568], the network's is float32 [10, 1568]; 'fc.bias' is float32 [11]");
  expect_refused({"import", "--from", "one.safetensors", "--config", "b.toml", "--out", "run"}, "already holds a run");
  expect_refused({"train", "run/config.toml", "--run-dir", "run"}, "these weights were imported");
}

TEST_F(Commands, OtherWeightsOfTheNetworkAreAttacked) {
  std::ofstream(folder / "b.toml") << "[deny]\nmode='B'\n[key]\nlayers=[0,2]\n[dist]\nthreads=1\n";
  done({"import", "--from", "model.skm", "--config", "b.toml", "--out", "run"});
  const auto other = make_experiment(parse_config("[run]\nseed=7\n[deny]\nmode='B'\n[key]\nlayers=[0,2]\n", "test"));
  write_durably(folder / "other.safetensors", write_safetensors(describe_experiment(other), *other.model));
  const std::vector<std::string> attack{"attack", "run", "--attacks", "O1", "--weights", "other.safetensors"};
  expect_refused(attack, "--weights other.safetensors: --out is missing");
  auto elsewhere = attack;
  elsewhere.insert(elsewhere.end(), {"--out", "elsewhere"});
  done(elsewhere);
  EXPECT_EQ(read_json(folder / "elsewhere/attack.json").at("weights_sha256"), to_hex(weights_digest(*other.model)));
}

TEST_F(Commands, TrainingStartsFromTheGivenWeights) {
  std::ofstream(folder / "b.toml")
      << "[deny]\nmode='B'\n[key]\nlayers=[0,2]\n[train]\nepochs=1\nglobal_batch=64\n[dist]\n"
         "threads=1\n[eval]\nkeys=1\n[data]\nlimit=128\n[run]\nseed=7\n";
  const auto digest = to_hex(weights_digest(*experiment.model));
  const std::vector<std::string> train{"train", "b.toml", "--run-dir", "started", "--init", "model.skm"};
  done(train, 2);
  const auto result = read_json(folder / "started/result.json");
  EXPECT_EQ(result.at("init_digest"), digest);
  EXPECT_THAT(done(train, 2), HasSubstr("is finished"));  // the same hash
  // Without the file it goes on from its checkpoint, and only from there.
  EXPECT_THAT(done({"train", "started/config.toml", "--run-dir", "started"}), HasSubstr("is finished"));
  expect_refused({"train", "started/config.toml", "--run-dir", "again"}, "train.init_digest = \"" + digest);
  // Seed 42 draws the weights of the file, seed 7 others: the same training from there, however they came.
  done({"train", "b.toml", "--run-dir", "drawn", "run.seed=42"});
  EXPECT_FALSE(read_json(folder / "drawn/result.json").contains("init_digest"));
  done({"train", "b.toml", "--run-dir", "given", "run.seed=42", "--init", "model.skm"});
  const auto drawn = read_json(folder / "drawn/result.json"), given = read_json(folder / "given/result.json");
  EXPECT_EQ(drawn.at("weights_sha256"), given.at("weights_sha256"));
  EXPECT_NE(drawn.at("config_hash"), given.at("config_hash"));
  EXPECT_NE(result.at("weights_sha256"), given.at("weights_sha256"));
}

}  // namespace
}  // namespace spankey::test::commands_test
