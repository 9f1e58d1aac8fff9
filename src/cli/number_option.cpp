#include "cli/number_option.h"

#include <string>

#include "config/number.h"
#include "config/value.h"

namespace spankey::cli {
namespace {

// Rewrites the typed word in a form that CLI11 always converts to the same number.
template <class T, class Read>
CLI::Validator between(const Bounds& bounds, Read read, bool whole) {
  const std::string accepted = accepted_text(FieldInfo<T>{.bounds = bounds});
  return {[bounds, read, whole, accepted](std::string& word) -> std::string {
            const auto value = read(word, bounds);
            if (!value) return fmt::format("{}: accepted: {}{}", word, accepted, number_advice(word, whole));
            word = value_text(*value);
            return "";
          },
          accepted.substr(accepted.find(' ') + 1)};
}

}  // namespace

CLI::Validator integer_between(std::int64_t low, std::int64_t high) {
  return between<std::int64_t>(from_to(static_cast<double>(low), static_cast<double>(high)), typed_integer,
                               /*whole=*/true);
}

CLI::Validator number_between(double low, double high) {
  return between<double>(from_to(low, high), typed_number, /*whole=*/false);
}

}  // namespace spankey::cli
