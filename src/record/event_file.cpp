#include "record/event_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <span>
#include <sstream>
#include <vector>

#include "base/digest.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "config/entries.h"

namespace spankey {
namespace {

using nlohmann::json;

constexpr std::string_view prefix = "events.out.tfevents.", suffix = ".spankey";

std::string little_endian(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i)));
  return text;
}

// A sum of data that contain sums is weak, so TFRecord rotates it and adds a constant.
std::string masked_sum(std::string_view data) {
  const auto sum = crc32c(std::as_bytes(std::span(data)));
  return little_endian(std::rotr(sum, 15) + 0xa282ead8U, 4);
}

// The parts of a message of protocol buffers. A field is its number and the kind of its value, followed by the value.
enum Kind : std::uint8_t { varint_kind = 0, double_kind = 1, bytes_kind = 2, float_kind = 5 };

std::string varint(std::uint64_t value) {
  std::string text;
  for (; value >= 0x80; value >>= 7) text.push_back(static_cast<char>(value | 0x80));
  return text + static_cast<char>(value);
}

std::string head(int field, Kind kind) {
  return varint(static_cast<std::uint64_t>(field) << 3 | kind);
}

std::string integer_field(int field, std::int64_t value) {
  return head(field, varint_kind) + varint(static_cast<std::uint64_t>(value));
}

std::string double_field(int field, double value) {
  return head(field, double_kind) + little_endian(std::bit_cast<std::uint64_t>(value), 8);
}

std::string float_field(int field, float value) {
  return head(field, float_kind) + little_endian(std::bit_cast<std::uint32_t>(value), 4);
}

std::string bytes_field(int field, std::string_view bytes) {
  return head(field, bytes_kind).append(varint(bytes.size())).append(bytes);
}

// Event: wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7. Summary: value = 1.
std::string event(double seconds, std::int64_t step, int field, std::string_view content) {
  return double_field(1, seconds) + integer_field(2, step) + bytes_field(field, content);
}

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Seconds since 1970 of a text as utc_now() writes it, or of now.
double seconds_of(const json& line) {
  const auto text = line.find("time");
  std::tm parts{};
  if (text == line.end() || !text->is_string() ||
      strptime(text->get_ref<const std::string&>().c_str(), "%Y-%m-%dT%H:%M:%SZ", &parts) == nullptr)
    return now_seconds();
  return static_cast<double>(timegm(&parts));
}

// Summary.Value: tag = 1, simple_value = 2.
void add_values(const json& node, const std::string& path, std::string& values) {
  if (node.is_number()) {
    values += bytes_field(1, bytes_field(1, path) + float_field(2, node.get<float>()));
  } else if (node.is_object()) {
    for (const auto& [name, child] : node.items())
      if (name != "global_step") add_values(child, path.empty() ? name : path + "." + name, values);
  }
}

// google.protobuf.Value: number_value = 2, string_value = 3, bool_value = 4.
std::string setting(const std::string& toml_value) {
  const auto value = json::parse(toml_value, nullptr, /*allow_exceptions=*/false);
  if (value.is_number()) return double_field(2, value.get<double>());
  if (value.is_boolean()) return integer_field(4, value.get<bool>() ? 1 : 0);
  return bytes_field(3, value.is_string() ? value.get_ref<const std::string&>() : toml_value);
}

void remove_earlier(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> old;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(suffix)) old.push_back(entry.path());
  }
  for (const auto& path : old) std::filesystem::remove(path);
}

}  // namespace

std::string framed(std::string_view data) {
  const auto length = little_endian(data.size(), 8);
  return length + masked_sum(length) + std::string(data) + masked_sum(data);
}

std::string scalars_event(const std::string& line) {
  const auto figures = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!figures.is_object()) return {};
  std::string values;
  add_values(figures, "", values);
  const auto step = figures.find("global_step");
  const bool counted = step != figures.end() && step->is_number_integer();
  if (values.empty() || !counted) return {};
  return event(seconds_of(figures), step->get<std::int64_t>(), 5, values);
}

std::string settings_event(const Config& config, double start_seconds) {
  // HParamsPluginData: version = 1, session_start_info = 3. SessionStartInfo: hparams = 1, start_time_secs = 5.
  std::string session;
  for (const auto& entry : entries(config))
    if (entry.hashed) session += bytes_field(1, bytes_field(1, entry.key) + bytes_field(2, setting(entry.value)));
  session += double_field(5, start_seconds);
  const auto data = integer_field(1, 0) + bytes_field(3, session);
  // SummaryMetadata: plugin_data = 1, with plugin_name = 1 and content = 2. The tensor is one float, as TensorBoard's
  // own writer has it: dtype = 1, tensor_shape = 2 with dim = 2 and size = 1, float_val = 5.
  const auto metadata = bytes_field(1, bytes_field(1, "hparams") + bytes_field(2, data));
  const auto tensor =
      integer_field(1, 1) + bytes_field(2, bytes_field(2, integer_field(1, 1))) + bytes_field(5, little_endian(0, 4));
  const auto value = bytes_field(1, "_hparams_/session_start_info") + bytes_field(8, tensor) + bytes_field(9, metadata);
  return event(start_seconds, 0, 5, bytes_field(1, value));
}

EventFile::EventFile(std::filesystem::path folder, const Config& config)
    : folder_(std::move(folder)), config_(config) {}

// The file has another name than the one before it, since TensorBoard keeps on reading the file that it has opened.
void EventFile::begin(const std::string& lines) {
  try {
    make_writable_folder(folder_);
    remove_earlier(folder_);
    const double now = now_seconds();
    path_ = folder_ / fmt::format("{}{:.6f}.{}{}", prefix, now, getpid(), suffix);
    file_ = Descriptor(open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644));
    if (!file_.valid()) return fail(system_reason(errno));
    // A session_log with status = 1 (START) tells readers to forget what other files said of this step and later ones.
    write(framed(double_field(1, now) + bytes_field(3, "brain.Event:2")) +
          framed(event(now, 0, 7, integer_field(1, 1))) + framed(settings_event(config_, now)));
    add(lines);
  } catch (const std::exception& error) {
    fail(error.what());
  }
}

void EventFile::add(const std::string& lines) {
  if (!file_.valid()) return;
  std::string records;
  std::istringstream text(lines);
  for (std::string line; std::getline(text, line);)
    if (const auto data = scalars_event(line); !data.empty()) records += framed(data);
  write(records);
}

// A record that is written in part would end what a reader gets of the file, so a fault ends the file.
void EventFile::write(const std::string& records) {
  for (std::string_view left = records; !left.empty() && file_.valid();) {
    const auto written = ::write(file_.get(), left.data(), left.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail(system_reason(errno));
    left.remove_prefix(static_cast<std::size_t>(written));
  }
}

void EventFile::fail(const std::string& reason) {
  file_.reset();
  log::warning(
      "{}: no more event files of TensorBoard are written: {}; the run goes on, and metrics.jsonl has the same "
      "figures",
      path_.empty() ? folder_.string() : path_.string(), reason);
}

}  // namespace spankey
