// How much of a test that could go on for ever is run, and the figures that it leaves for tools/torture.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

namespace spankey::test {

// Seconds that tools/torture lasts (SPANKEY_TORTURE_SECONDS); 0: the sample for continuous integration.
inline double torture_seconds() {
  const char* seconds = std::getenv("SPANKEY_TORTURE_SECONDS");
  return seconds != nullptr ? std::atof(seconds) : 0.0;
}

// The share of that time that a part gets at most. tools/torture runs the parts of the real program one after the
// other, beside all the others.
enum class Part { real_faults, real_steps, real_moments, small };

constexpr double share(Part part) {
  switch (part) {
    case Part::real_faults:
      return 0.62;
    case Part::real_steps:
      return 0.10;
    case Part::real_moments:
      return 0.28;
    case Part::small:
      break;
  }
  return 0.05;
}

// `sample` rounds in continuous integration; under tools/torture until the part's seconds are over or `whole` rounds
// are done.
class Budget {
 public:
  Budget(std::int64_t sample, std::int64_t whole, Part part = Part::small)
      : sample_(sample), whole_(whole), seconds_(share(part) * torture_seconds()) {}

  bool more(std::int64_t done) const {
    if (seconds_ <= 0) return done < sample_;
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - started_;
    return done < whole_ && elapsed.count() < seconds_;
  }

 private:
  std::int64_t sample_, whole_;
  double seconds_;
  std::chrono::steady_clock::time_point started_ = std::chrono::steady_clock::now();
};

// One line a figure: "[figure] <goal> | <what> | <number> | <of how many the whole has>". tools/torture makes its
// table of them and lists what is below the last number.
inline void report(const std::string& goal, const std::string& what, std::int64_t number, std::int64_t whole = 0) {
  std::printf("[figure] %s | %s | %lld | %lld\n", goal.c_str(), what.c_str(), static_cast<long long>(number),
              static_cast<long long>(whole));
  std::fflush(stdout);
}

// What a test of `goal` is worth: of the versions with one protection taken out, all must have been caught.
inline void report_mutants(const std::string& goal, const std::string& what, std::int64_t caught,
                           std::int64_t mutants) {
  report("R19", "mutants caught (" + goal + "): " + what, caught, mutants);
}

}  // namespace spankey::test
