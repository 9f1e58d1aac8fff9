#include "cli/failure.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string_view>
#include <system_error>
#include <thread>

#include "base/error.h"
#include "base/log.h"

namespace spankey::cli {
namespace {

std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

// "; this process may have 4096 MiB (ulimit -v)", nothing where there is no such limit.
std::string limit_text(__rlimit_resource resource, std::string_view form, rlim_t unit) {
  rlimit limit{};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return {};
  return "; " + fmt::format(fmt::runtime(form), limit.rlim_cur / unit);
}

std::string memory_sentence(const std::string& what) {
  return fmt::format(
      "not enough memory{}{}; less is needed with a smaller train.global_batch, fewer keys (eval.keys, --keys) or "
      "fewer "
      "ranks on this machine",
      what.empty() ? "" : ": " + what, limit_text(RLIMIT_AS, "this process may have {} MiB (ulimit -v)", 1 << 20));
}

std::string thread_sentence(int error) {
  return fmt::format("no further thread can be started: {}{}; a smaller dist.threads takes fewer", system_reason(error),
                     limit_text(RLIMIT_NPROC, "this user may have {} (ulimit -u)", 1));
}

// The message of an allocator of LibTorch, on the host or a GPU.
bool tells_of_memory(std::string_view text) {
  for (const std::string_view part : {"not enough memory", "can't allocate memory", "out of memory"})
    if (text.find(part) != std::string_view::npos) return true;
  return false;
}

Failure of_torch(const c10::Error& error) {
  const auto sentence = first_line(error.what_without_backtrace());
  return {ExitCode::run_failed, tells_of_memory(sentence) ? memory_sentence(sentence) : sentence, error.what()};
}

std::atomic<bool> returning{false};

// Another thread may hold the lock of the log, so this one waits for it, but not for ever.
[[noreturn]] void end_with(const Failure& failure) {
  constexpr unsigned patience_seconds = 10;
  alarm(patience_seconds);
  log::error("{}", failure.sentence);
  if (!failure.details.empty()) log::debug("{}", failure.details);
  log::flush();
  std::_Exit(static_cast<int>(failure.code));
}

// The error of starting one more thread, or 0 if that works.
int thread_refusal() {
  try {
    std::thread([] {}).join();
  } catch (const std::system_error& error) {
    return error.code().value();
  }
  return 0;
}

void end_by_library(int status, void*) {
  if (returning || status != EXIT_FAILURE) return;
  const int refusal = thread_refusal();
  end_with({ExitCode::run_failed,
            refusal != 0 ? thread_sentence(refusal)
                         : "a library has ended the program (the line above, if there is one, is its reason); where it "
                           "could not start "
                           "threads, a smaller dist.threads or a higher limit (ulimit -u) helps",
            {}});
}

[[noreturn]] void end_without_catcher() {
  Failure failure{ExitCode::run_failed, "an error in the program ended it (std::terminate)", {}};
  if (const auto error = std::current_exception()) {
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& known) {
      failure = describe(known);
    } catch (...) {
      failure.sentence = "an unknown exception ended the program";
    }
  }
  end_with(failure);
}

}  // namespace

Failure describe(const std::exception& error) {
  if (const auto* ours = dynamic_cast<const Error*>(&error)) return {ours->code(), ours->what(), {}};
  if (const auto* torch = dynamic_cast<const c10::Error*>(&error)) return of_torch(*torch);
  if (dynamic_cast<const std::bad_alloc*>(&error)) return {ExitCode::run_failed, memory_sentence(""), {}};
  if (const auto* system = dynamic_cast<const std::system_error*>(&error)) {
    const int code = system->code().value();
    if (system->code() == std::errc::resource_unavailable_try_again)
      return {ExitCode::run_failed, thread_sentence(code), {}};
    return {exit_code_of(code), first_line(system->what()), {}};
  }
  const std::string text = error.what();
  const auto sentence = first_line(text);
  return {ExitCode::run_failed, tells_of_memory(sentence) ? memory_sentence(sentence) : sentence,
          sentence == text ? std::string() : text};
}

void install_end_handlers() {
  std::set_terminate(end_without_catcher);
  on_exit(end_by_library, nullptr);
}

void announce_return() {
  returning = true;
}

}  // namespace spankey::cli
