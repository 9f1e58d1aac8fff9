// The reader of this test follows the published formats (TFRecord, protocol buffers) and shares no code with the
// writer.
#include "record/event_file.h"

#include <gmock/gmock.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "support/temporary_folder.h"

namespace spankey::event_file_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

std::uint64_t number(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

// CRC32C bit by bit: reflected polynomial 0x82f63b78.
std::uint32_t slow_crc32c(std::string_view bytes) {
  std::uint32_t sum = 0xffffffffU;
  for (const char c : bytes) {
    sum ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) sum = (sum & 1U) != 0 ? sum >> 1 ^ 0x82f63b78U : sum >> 1;
  }
  return ~sum;
}

bool is_masked_sum(std::string_view stored, std::string_view bytes) {
  const auto rotated = static_cast<std::uint32_t>(number(stored)) - 0xa282ead8U;
  return (rotated >> 17 | rotated << 15) == slow_crc32c(bytes);
}

// The data of whole records, up to the first one that is cut short or damaged.
std::vector<std::string> records_of(std::string_view file) {
  std::vector<std::string> records;
  while (file.size() >= 16) {
    const auto length = number(file.substr(0, 8));
    if (!is_masked_sum(file.substr(8, 4), file.substr(0, 8)) || file.size() < 16 + length) break;
    const auto data = file.substr(12, length);
    if (!is_masked_sum(file.substr(12 + length, 4), data)) break;
    records.emplace_back(data);
    file.remove_prefix(16 + length);
  }
  return records;
}

// The fields of a message by their number. Integers and floating-point numbers are their bits.
std::multimap<int, std::string> fields_of(std::string_view message) {
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(message.at(0));
      message.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
      if (byte < 0x80) return value;
    }
  };
  std::multimap<int, std::string> fields;
  while (!message.empty()) {
    const auto head = varint();
    const auto kind = head & 7U;
    std::string value;
    if (kind == 0) {
      value = std::to_string(varint());
    } else {
      const auto length = kind == 1 ? 8 : kind == 5 ? 4 : varint();
      value = std::string(message.substr(0, length));
      message.remove_prefix(length);
    }
    fields.emplace(static_cast<int>(head >> 3), value);
  }
  return fields;
}

std::string only(const std::multimap<int, std::string>& fields, int number) {
  EXPECT_EQ(fields.count(number), 1U) << number;
  const auto found = fields.find(number);
  return found == fields.end() ? std::string() : found->second;
}

double real(const std::string& bits) {
  return std::bit_cast<double>(number(bits));
}

struct Scalars {
  double seconds = 0.0;
  std::string step;
  std::map<std::string, float> values;
};

Scalars scalars_of(const std::string& event) {
  const auto fields = fields_of(event);
  Scalars scalars{real(only(fields, 1)), only(fields, 2), {}};
  const auto summary = fields_of(only(fields, 5));
  for (const auto& [field, text] : summary) {
    const auto value = fields_of(text);
    EXPECT_EQ(field, 1);
    scalars.values[only(value, 1)] = std::bit_cast<float>(static_cast<std::uint32_t>(number(only(value, 2))));
  }
  return scalars;
}

constexpr const char* line = R"({"kind": "eval", "global_step": 300, "time": "2001-09-09T01:46:40Z", "loss": 0.5,)"
                             R"( "no_key": {"accuracy": 0.125, "reject_fraction": null}})";

TEST(EventFile, FramesAsTheTfrecordFormatSays) {
  // From the format's definition: 8 bytes of length, their masked sum, the data, their masked sum.
  const auto record = framed("abc");
  ASSERT_EQ(record.size(), 8U + 4 + 3 + 4);
  EXPECT_THAT(records_of(record + framed("")), ElementsAre("abc", ""));
  // "123456789" has the check value e3069283 of CRC-32C, masked: rotated right by 15, plus the constant.
  EXPECT_EQ(slow_crc32c("123456789"), 0xe3069283U);
  const auto known = framed("123456789");
  EXPECT_EQ(number(std::string_view(known).substr(known.size() - 4)), 0xc78ab0e5U);
}

// The control of the reader above.
TEST(EventFile, DamageIsSeenByTheReader) {
  for (std::size_t i = 0; i < framed("abc").size(); ++i) {
    auto damaged = framed("abc");
    damaged[i] = static_cast<char>(damaged[i] ^ 4);
    EXPECT_THAT(records_of(damaged), IsEmpty()) << i;
  }
}

TEST(EventFile, ScalarsHaveTheNamesOfTheLine) {
  const auto scalars = scalars_of(scalars_event(line));
  EXPECT_EQ(scalars.seconds, 1e9);
  EXPECT_EQ(scalars.step, "300");
  EXPECT_THAT(scalars.values, UnorderedElementsAre(Pair("loss", 0.5F), Pair("no_key.accuracy", 0.125F)));
  for (const char* other : {"", "[1]", "{", R"({"loss": 1})", R"({"global_step": 1, "kind": "x"})"})
    EXPECT_EQ(scalars_event(other), "") << other;
}

TEST(EventFile, SettingsAreTypedHyperparameters) {
  Config config;
  config.deny.mode = "B";
  config.run.name = "not a setting";
  const auto summary = fields_of(only(fields_of(settings_event(config, 7.0)), 5));
  const auto value = fields_of(only(summary, 1));
  EXPECT_EQ(only(value, 1), "_hparams_/session_start_info");
  const auto plugin = fields_of(only(fields_of(only(value, 9)), 1));
  EXPECT_EQ(only(plugin, 1), "hparams");
  const auto session = fields_of(only(fields_of(only(plugin, 2)), 3));
  EXPECT_EQ(real(only(session, 5)), 7.0);
  std::map<std::string, std::multimap<int, std::string>> settings;
  for (auto [at, end] = session.equal_range(1); at != end; ++at) {
    const auto pair = fields_of(at->second);
    settings[only(pair, 1)] = fields_of(only(pair, 2));
  }
  EXPECT_EQ(real(only(settings["key.gamma"], 2)), 0.5);
  EXPECT_EQ(only(settings["deny.mode"], 3), "B");
  EXPECT_EQ(only(settings["train.drop_last"], 4), "1");
  EXPECT_EQ(settings.count("run.name"), 0U);
}

class Written : public testing::Test {
 protected:
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> found;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "tensorboard"))
      found.push_back(entry.path());
    return found;
  }
  test::TemporaryFolder folder_;
};

TEST_F(Written, AnAttemptWritesTheLinesBeforeItAnew) {
  const auto text = std::string(line) + "\n";
  EventFile(folder_ / "tensorboard", {}).begin(text);
  EventFile second(folder_ / "tensorboard", {});
  std::ofstream(folder_ / "tensorboard/events.out.tfevents.1.other") << "of another program";
  second.begin(text);
  second.add(text + "{\"torn");
  ASSERT_EQ(files().size(), 2U);
  for (const auto& file : files()) {
    if (file.extension() == ".other") continue;
    const auto records = records_of(read_text(file));
    ASSERT_EQ(records.size(), 5U);  // version, start, settings, and each line
    EXPECT_EQ(only(fields_of(records[0]), 3), "brain.Event:2");
    EXPECT_EQ(only(fields_of(only(fields_of(records[1]), 7)), 1), "1");
    EXPECT_EQ(scalars_of(records[4]).step, "300");
  }
}

TEST_F(Written, AFaultIsOneWarning) {
  std::ofstream(folder_ / "tensorboard") << "in the way";
  EventFile file(folder_ / "tensorboard", {});
  testing::internal::CaptureStderr();
  file.begin("");
  file.add(line);
  file.add(line);
  const auto said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("tensorboard"));
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
}

}  // namespace
}  // namespace spankey::event_file_test
