#include "base/job_clock.h"

#include <cctype>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "base/log.h"
#include "base/run_program.h"

namespace spankey {
namespace {

bool is_number(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text)
    if (!std::isdigit(static_cast<unsigned char>(c))) return false;
  return true;
}

std::optional<double> number(std::string_view text) {
  double value = 0;
  if (!is_number(text) || std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) return {};
  return value;
}

// squeue waits long for a controller that is down, while the other ranks wait for this one.
std::optional<std::string> ask_squeue(const std::string& id) {
  constexpr std::chrono::seconds patience{10};
  const auto squeue = run_program({"squeue", "-h", "-j", id, "-o", "%L"}, patience);
  if (squeue.exit_code == 0) return squeue.out.substr(0, squeue.out.find('\n'));
  if (squeue.err.find("Invalid job id") != std::string::npos) return std::string();
  return std::nullopt;
}

}  // namespace

std::optional<double> parse_time_left(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.remove_suffix(1);
  double days = 0;
  if (const auto dash = text.find('-'); dash != std::string_view::npos) {
    const auto value = number(text.substr(0, dash));
    if (!value) return {};
    days = *value;
    text.remove_prefix(dash + 1);
  }
  double seconds = 0;  // of the parts so far, each 60 times the next
  int parts = 0;
  for (bool more = true; more; ++parts) {
    const auto colon = text.find(':');
    const auto value = number(text.substr(0, colon));
    if (!value || parts == 3) return {};
    seconds = 60 * seconds + *value;
    more = colon != std::string_view::npos;
    if (more) text.remove_prefix(colon + 1);
  }
  if (parts < 2) return {};
  return 86400 * days + seconds;
}

JobClock::JobClock() : JobClock([](const char* name) { return std::getenv(name); }, ask_squeue) {}

JobClock::JobClock(Variable variable, Squeue squeue) : variable_(std::move(variable)), squeue_(std::move(squeue)) {
  const char* text = variable_("SLURM_JOB_END_TIME");
  const auto end = text ? number(text) : std::nullopt;
  const std::chrono::duration<double> since_1970 = std::chrono::system_clock::now().time_since_epoch();
  if (end && *end > since_1970.count()) {
    count_down(*end - since_1970.count());
    return;
  }
  if (end) log::warning("SLURM_JOB_END_TIME = {} has passed and is ignored", text);
  update();
}

std::optional<std::string> JobClock::job_id() const {
  const char* id = variable_("SLURM_JOB_ID");
  return id && is_number(id) ? std::optional<std::string>(id) : std::nullopt;
}

void JobClock::count_down(double seconds) {
  constexpr double longest = 10.0 * 365 * 86400;  // no job; the sum below must not overflow
  if (seconds > longest) return end_.reset();
  end_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

double JobClock::seconds_left() const {
  if (!end_) return std::numeric_limits<double>::infinity();
  return std::chrono::duration<double>(*end_ - Clock::now()).count();
}

void JobClock::update() {
  const auto id = job_id();
  const auto answer = id ? squeue_(*id) : std::nullopt;
  if (!answer) return;
  const auto left = parse_time_left(*answer);
  if (left) return count_down(*left);
  if (end_ && answer->empty())
    log::warning("SLURM_JOB_END_TIME belongs to job {}, which has ended, and is ignored", *id);
  end_.reset();
}

}  // namespace spankey
