// Tells whose issued key is in a key that has been found (fingerprint.h).
//
// r is the part of the found key outside the span of the basis. The score of a user with fingerprint f is
//   z = sqrt(d - m) <f, r> / |r|,
// which is N(0, 1) for whoever has nothing to do with the key, and sqrt((d - m) / c) for each of c users whose keys
// were averaged. A mosaic takes each coordinate from another user's key. It lowers z, but repeats exact coordinates, so
// that a second score counts them: the share of coordinates where the found key is the user's key times one factor, to
// a thousandth.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "keyring/fingerprint.h"

namespace spankey {

struct KeyHolder {
  std::uint64_t serial = 0;
  std::string name;
  std::vector<at::Tensor> alphas;  // (m) for each slot of coefficients
  FingerprintSeed seed;
};

// A vector that is tried as the key of a site.
struct FoundKey {
  std::size_t site = 0;  // position among the sites of KeyIssuer
  at::Tensor key;        // (d_l), any floating type
};

enum class TraceVerdict {
  exact,     // the key of one user, up to a factor and rounding
  named,     // the keys of these users are in it
  forged,    // nobody is named, and most of it is outside the span
  too_many,  // nobody is named, though most of it is in the span
};

// What the trace of one site says of one user.
struct SiteScore {
  std::size_t site = 0;
  double z = 0.0;
  double match = 0.0;            // share of repeated coordinates
  double match_threshold = 0.0;  // it depends on the cosine, since similar keys repeat more by chance
  double cosine = 0.0;           // between the found key and the user's
  double alpha_cosine = 0.0;     // between the coefficients of its part in the span and the user's alpha
  bool by_z = false, by_match = false, exact = false;
  bool named() const { return by_z || by_match || exact; }
};

struct UserTrace {
  std::uint64_t serial = 0;
  std::string name;
  std::vector<SiteScore> sites;  // one for each found key
  bool named() const;
  bool exact() const;  // at every site
  double largest_z() const;
};

struct SiteTrace {
  std::size_t site = 0;
  std::int64_t width = 0;
  double span_energy = 0.0;  // rho, the share of the key's energy in the span
};

struct TraceReport {
  TraceVerdict verdict = TraceVerdict::forged;
  double epsilon = 0.0;      // bound of the probability of naming anybody who is innocent
  double z_threshold = 0.0;  // of each user at each site
  double span_energy = 0.0;  // over all sites together
  // True where less is left outside the span than the mean of all issued keys would leave, so that the key was made
  // with the basis itself, or not from issued keys.
  bool bare_span = false;
  std::vector<SiteTrace> sites;
  std::vector<UserTrace> users;  // named ones first, each group by falling z
};

// Traces a key. `found` holds one or more vectors, and `issued` every key that was ever issued, revoked ones included.
// Throws Error(bad_input) where a vector is not finite, zero, or of another width than its site.
TraceReport trace(const KeyIssuer& keys, std::span<const KeyHolder> issued, std::span<const FoundKey> found,
                  double epsilon = 1e-3);

// The verdict on figures that are known already, in the order exact, named, forged, too many.
TraceVerdict verdict_on(std::span<const UserTrace> users, double span_energy);

// Threshold of z for `tests` tests that together accuse an innocent user with probability `epsilon` at most.
double trace_z_threshold(double epsilon, std::int64_t tests);

// Number of repeated coordinates out of `width` that an innocent user's key at this cosine reaches with probability
// `p` at most.
std::int64_t trace_match_threshold(std::int64_t width, double cosine, double p);

// How many colluders these thresholds can name, as far as theory says it. The found key is as wide as `width`.
struct TraceLimits {
  std::int64_t mean_keys = 0;     // keys of which the mean was taken
  std::int64_t mosaic_keys = 0;   // keys of a mosaic that repeats their coordinates exactly
  std::int64_t noisy_mosaic = 0;  // the same, with one percent of noise on each coordinate
};
TraceLimits trace_limits(std::int64_t m, std::int64_t width, double phi, std::int64_t users, double epsilon);

}  // namespace spankey
