#include "record/run_progress.h"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <string_view>
#include <system_error>

#include "base/descriptor.h"
#include "base/text.h"
#include "record/early_stop.h"
#include "record/result.h"

namespace spankey {
namespace {

void read_line(std::string_view text, RunProgress& progress) {
  const auto line = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto step = number_at(line, "global_step"), epoch = number_at(line, "epoch");
  if (!line.is_object() || !step || !epoch) return;
  progress.step = static_cast<std::int64_t>(*step);
  progress.epoch = static_cast<std::int64_t>(*epoch);
  const auto kind = line.find("kind");
  if (kind == line.end() || *kind != "step") {
    progress.finished = kind != line.end() && *kind == "result";
    return read_result(line, progress);
  }
  progress.loss = number_at(line, "loss");
  progress.samples_per_second = number_at(line, "samples_per_second");
  if (progress.loss) progress.losses.add(*progress.loss);
  // Lines of earlier versions tell it once an epoch is over.
  const auto within = number_at(line, "step");
  if (const auto steps = number_at(line, "steps_per_epoch"))
    progress.steps_per_epoch = static_cast<std::int64_t>(*steps);
  else if (within && progress.epoch > 0)
    progress.steps_per_epoch = (progress.step - static_cast<std::int64_t>(*within)) / progress.epoch;
}

}  // namespace

void ThinnedSeries::add(double value) {
  sum_ += value;
  if (++count_ < stride_) return;
  means_.push_back(sum_ / static_cast<double>(count_));
  sum_ = 0.0;
  count_ = 0;
  if (means_.size() < most_) return;
  for (std::size_t i = 0; 2 * i + 1 < means_.size(); ++i) means_[i] = (means_[2 * i] + means_[2 * i + 1]) / 2;
  means_.resize(means_.size() / 2);
  stride_ *= 2;
}

const RunProgress& MetricsReader::look() {
  const Descriptor file(open(file_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat facts {};
  if (!file.valid() || fstat(file.get(), &facts) != 0 || !S_ISREG(facts.st_mode)) return progress_;
  if (facts.st_ino != inode_ || facts.st_size < read_) {
    progress_ = {};
    read_ = 0;
    inode_ = facts.st_ino;
  }
  std::string text;
  char part[1 << 16];
  for (auto at = read_;;) {
    const auto count = pread(file.get(), part, sizeof part, at);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(part, static_cast<std::size_t>(count));
    at += count;
    std::size_t begin = 0;
    for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n', begin)) {
      read_line(std::string_view(text).substr(begin, end - begin), progress_);
      begin = end + 1;
    }
    read_ += static_cast<std::int64_t>(begin);
    text.erase(0, begin);
  }
  return progress_;
}

double MetricsReader::age_seconds() const {
  namespace fs = std::filesystem;
  std::error_code error;
  const auto written = fs::last_write_time(file_, error);
  if (error) return 0.0;
  return std::max(0.0, std::chrono::duration<double>(fs::file_time_type::clock::now() - written).count());
}

void read_result(const nlohmann::json& result, RunProgress& progress) {
  progress.stopped_early = early_stop_text(result);
  for (const auto& [path, figure] :
       {std::pair("correct_key.accuracy", &progress.correct), std::pair("no_key.accuracy", &progress.no_key),
        std::pair("no_key.strip_accuracy", &progress.strip)})
    if (const auto value = number_at(result, path)) *figure = value;
}

std::string last_error(const RunDirectory& run) {
  constexpr std::streamoff tail = 4096;
  constexpr std::string_view mark = " error: ";
  std::ifstream file(run.log() / "rank0.log", std::ios::binary | std::ios::ate);
  if (!file) return {};
  const auto size = static_cast<std::streamoff>(file.tellg());
  std::string text(static_cast<std::size_t>(std::min(size, tail)), '\0');
  file.seekg(size - static_cast<std::streamoff>(text.size()));
  if (!file.read(text.data(), static_cast<std::streamsize>(text.size()))) return {};
  const auto line = last_line_of(text);
  const auto at = line.find(mark);
  return at == std::string::npos ? std::string() : line.substr(at + mark.size());
}

std::optional<std::int64_t> steps_left(const RunProgress& progress, std::int64_t epochs) {
  if (progress.finished) return 0;
  if (progress.steps_per_epoch <= 0 || progress.step < 0) return std::nullopt;
  return std::max<std::int64_t>(0, epochs * progress.steps_per_epoch - progress.step);
}

}  // namespace spankey
