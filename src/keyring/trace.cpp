#include "keyring/trace.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/statistics.h"
#include "spankey/keys/key_draws.h"

namespace spankey {
namespace {

using key_families::inner_product;

constexpr double match_tolerance = 1e-3;  // of a repeated coordinate
constexpr double exact_distance = 1e-5;   // 1 - cosine; rounding to bfloat16 gives 1e-6
constexpr double match_share = 0.01;      // of epsilon; the rest is for z
constexpr double forged_below = 0.5;      // span energy

// Coordinates at which `found` is the same multiple of `issued`, to the tolerance, for the multiple that fits most.
std::int64_t repeated_coordinates(const at::Tensor& found, const at::Tensor& issued) {
  const double* a = found.const_data_ptr<double>();
  const double* b = issued.const_data_ptr<double>();
  std::vector<double> ratios;
  for (std::int64_t i = 0; i < found.numel(); ++i)
    if (const double ratio = a[i] / b[i]; ratio > 0 && std::isfinite(ratio)) ratios.push_back(ratio);
  std::sort(ratios.begin(), ratios.end());
  const double window = (1 + match_tolerance) / (1 - match_tolerance);
  std::int64_t most = 0;
  for (std::size_t first = 0, last = 0; first < ratios.size(); ++first) {
    while (last < ratios.size() && ratios[last] <= ratios[first] * window) ++last;
    most = std::max(most, static_cast<std::int64_t>(last - first));
  }
  return most;
}

// Everything about a found key that does not depend on the user.
struct Site {
  std::size_t site = 0;
  at::Tensor key, outside;  // (d) float64, and its part outside the span
  double norm = 0, outside_norm = 0;
  std::vector<double> alpha;  // coefficients of the part in the span
  double span_energy() const { return 1 - outside_norm * outside_norm / (norm * norm); }
};

Site read_site(const KeyIssuer& keys, const FoundKey& found) {
  const at::Tensor& span = keys.spans().at(found.site);
  if (found.key.numel() != span.size(1))
    fail_input("the key of site {} has {} elements; accepted: {}", found.site, found.key.numel(), span.size(1));
  Site site;
  site.site = found.site;
  site.key = found.key.reshape({-1}).to(at::kCPU, at::kDouble).contiguous();
  site.norm = site.key.norm().item<double>();
  if (!std::isfinite(site.norm) || site.norm == 0)
    fail_input("the key of site {} is {}; accepted: finite values that are not all zero", found.site,
               site.norm == 0 ? "zero" : "not finite");
  site.outside = site.key.clone();
  remove_span(span, {site.outside.mutable_data_ptr<double>(), static_cast<std::size_t>(site.outside.numel())});
  site.outside_norm = site.outside.norm().item<double>();
  const at::Tensor alpha = keys.coefficients(found.site, site.key);
  site.alpha.assign(alpha.const_data_ptr<double>(), alpha.const_data_ptr<double>() + alpha.numel());
  return site;
}

struct Thresholds {
  double z = 0, match_p = 0;  // match_p: probability that one innocent user's key matches at one site
};

SiteScore score(const KeyIssuer& keys, const Site& site, const KeyHolder& user, const at::Tensor& fingerprint,
                const at::Tensor& issued, const Thresholds& thresholds) {
  const auto width = site.key.numel();
  SiteScore score{.site = site.site};
  // What rounding alone leaves outside the span has no direction to speak of.
  if (site.outside_norm > 1e-12 * site.norm)
    score.z =
        std::sqrt(static_cast<double>(width - keys.m())) * inner_product(fingerprint, site.outside) / site.outside_norm;
  score.cosine = inner_product(site.key, issued) / (site.norm * issued.norm().item<double>());
  const auto repeated = repeated_coordinates(site.key, issued);
  const auto wanted = trace_match_threshold(width, score.cosine, thresholds.match_p);
  score.match = static_cast<double>(repeated) / static_cast<double>(width);
  score.match_threshold = static_cast<double>(wanted) / static_cast<double>(width);
  const at::Tensor alpha = user.alphas.at(keys.slot_of(site.site, user.alphas.size())).to(at::kDouble).contiguous();
  const at::Tensor recovered = at::from_blob(const_cast<double*>(site.alpha.data()), {alpha.numel()}, at::kDouble);
  score.alpha_cosine = inner_product(alpha, recovered) / (alpha.norm() * recovered.norm()).item<double>();
  score.by_z = score.z > thresholds.z;
  score.by_match = repeated >= wanted;
  score.exact = 1 - score.cosine < exact_distance;
  return score;
}

UserTrace trace_user(const KeyIssuer& keys, std::span<const Site> sites, const KeyHolder& user,
                     const Thresholds& thresholds) {
  UserTrace result;
  result.serial = user.serial;
  result.name = user.name;
  const auto fingerprints = keys.fingerprint(user.seed);
  const auto issued = keys.key(user.alphas, user.seed);
  for (const Site& site : sites)
    result.sites.push_back(
        score(keys, site, user, fingerprints[site.site], issued[site.site].to(at::kDouble), thresholds));
  return result;
}

}  // namespace

bool UserTrace::named() const {
  return std::any_of(sites.begin(), sites.end(), [](const SiteScore& site) { return site.named(); });
}

bool UserTrace::exact() const {
  return std::all_of(sites.begin(), sites.end(), [](const SiteScore& site) { return site.exact; });
}

double UserTrace::largest_z() const {
  double largest = sites.at(0).z;
  for (const SiteScore& site : sites) largest = std::max(largest, site.z);
  return largest;
}

double trace_z_threshold(double epsilon, std::int64_t tests) {
  return -normal_quantile(epsilon / static_cast<double>(tests));
}

// The ratio of two Gaussian coordinates of correlation c and equal variance has the density
//   sqrt(1 - c^2) / (pi (r^2 - 2 c r + 1)),
// whose logarithm-scaled form r f(r) is largest at r = 1, sqrt((1 + c) / (1 - c)) / (2 pi). That bounds the probability
// q that one ratio lies in a window of relative width 2 * tolerance, wherever the window is. A quarter is added for
// keys that are not quite Gaussian. Some window that begins at a ratio holds `count` of them with a probability of at
// most width * P(Bin(width - 1, q) >= count - 1).
std::int64_t trace_match_threshold(std::int64_t width, double cosine, double p) {
  constexpr double pi = 3.14159265358979323846;
  const double c = std::clamp(cosine, 0.0, 0.9999);
  const double q = std::min(1.0, 1.25 * 2 * match_tolerance * std::sqrt((1 + c) / (1 - c)) / (2 * pi));
  const auto others = static_cast<double>(width - 1);
  std::int64_t count = 2;
  const auto tail = [&](std::int64_t least) {  // P(Bin(others, q) >= least)
    const auto k = static_cast<double>(least);
    return k > others ? 0.0 : beta_cdf(k, others - k + 1, q);
  };
  while (static_cast<double>(width) * tail(count - 1) > p) ++count;
  return count;
}

TraceVerdict verdict_on(std::span<const UserTrace> users, double span_energy) {
  if (std::any_of(users.begin(), users.end(), [](const UserTrace& user) { return user.exact(); }))
    return TraceVerdict::exact;
  if (std::any_of(users.begin(), users.end(), [](const UserTrace& user) { return user.named(); }))
    return TraceVerdict::named;
  return span_energy < forged_below ? TraceVerdict::forged : TraceVerdict::too_many;
}

TraceReport trace(const KeyIssuer& keys, std::span<const KeyHolder> issued, std::span<const FoundKey> found,
                  double epsilon) {
  SPANKEY_CHECK(!found.empty());
  SPANKEY_CHECK(epsilon > 0 && epsilon < 1);
  TraceReport report;
  report.epsilon = epsilon;
  std::vector<Site> sites;
  double all = 0, outside = 0;
  for (const FoundKey& key : found) {
    const Site& site = sites.emplace_back(read_site(keys, key));
    report.sites.push_back({site.site, site.key.numel(), site.span_energy()});
    all += site.norm * site.norm;
    outside += site.outside_norm * site.outside_norm;
  }
  report.span_energy = 1 - outside / all;
  const auto users = static_cast<double>(std::max<std::size_t>(issued.size(), 1));
  const auto tests = static_cast<std::int64_t>(users) * std::ssize(found);
  const Thresholds thresholds{.z = trace_z_threshold((1 - match_share) * epsilon, tests),
                              .match_p = match_share * epsilon / static_cast<double>(tests)};
  report.z_threshold = thresholds.z;
  // The mean of all issued keys keeps this share of energy outside the span, or more where their alphas differ.
  const double left = keys.phi() / (keys.phi() + (1 - keys.phi()) * users);
  report.bare_span = 1 - report.span_energy < left / 2;
  for (const KeyHolder& user : issued) report.users.push_back(trace_user(keys, sites, user, thresholds));
  std::stable_sort(report.users.begin(), report.users.end(), [](const UserTrace& a, const UserTrace& b) {
    return std::pair(a.named(), a.largest_z()) > std::pair(b.named(), b.largest_z());
  });
  report.verdict = verdict_on(report.users, report.span_energy);
  return report;
}

TraceLimits trace_limits(std::int64_t m, std::int64_t width, double phi, std::int64_t users, double epsilon) {
  // A score this many standard deviations above its threshold is above it in 98 of 100 cases.
  constexpr double margin = 2.0;
  const double z = trace_z_threshold((1 - match_share) * epsilon, users) + margin;
  TraceLimits limits;
  limits.mean_keys = static_cast<std::int64_t>(static_cast<double>(width - m) / (z * z));
  // Two users' keys have at most this cosine, where their alphas are equal.
  const auto wanted =
      static_cast<double>(trace_match_threshold(width, 1 - phi, match_share * epsilon / static_cast<double>(users)));
  // `wanted` = x - margin sqrt(x), for the number x of coordinates that one key has to give.
  const double root = margin / 2 + std::sqrt(margin * margin / 4 + wanted);
  limits.mosaic_keys = static_cast<std::int64_t>(static_cast<double>(width) / (root * root));
  const double kept = 2 * normal_cdf(match_tolerance / 0.01) - 1;
  limits.noisy_mosaic = static_cast<std::int64_t>(kept * static_cast<double>(width) / (root * root));
  return limits;
}

}  // namespace spankey
