// Groups runs that differ only in run.seed, and compares the groups.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/statistics.h"
#include "report/published.h"
#include "report/run_record.h"

namespace spankey {

// The values of one figure over the seeds of a group.
struct SeedSpread {
  std::vector<double> values;  // one a seed
  Summary summary;
  // 95 % intervals of the mean and of the value that one more seed gives, see mean_share_interval(). NaN below two
  // seeds. For figures that may be negative, which are differences of two shares, the intervals are the same on [-1,
  // 1].
  Interval mean_interval, prediction;
};
SeedSpread spread_over_seeds(std::vector<double> values, bool differences = false);

struct Group {
  std::string label;                        // the varied settings, or the name
  std::vector<const RunRecord*> runs;       // one for each seed, ordered by seed, never empty
  std::vector<const RunRecord*> repeats;    // further runs of a seed, which are shown but not counted
  std::map<std::string, std::string> keys;  // every key that decides the result, except run.seed
  const Group* vanilla = nullptr;           // the twin without keys, equal except for train.twin, key.*, deny.*
  PublishedMatch published;

  const Config& config() const { return runs.front()->config; }
  // The spread over the runs that have the figure. nullopt where none has.
  std::optional<SeedSpread> spread(const std::string& path) const;
  double mean(const std::string& path) const;  // NaN where no run has it
  const RunRecord& least_withholding() const;  // the seed whose lock withholds least
};

// The groups that were trained and measured on one data set. One table compares only these.
struct DataStudy {
  std::string data;                 // its file name and the beginning of its digest
  std::vector<std::string> varied;  // keys whose values differ between groups
  std::deque<Group> groups;         // a deque keeps addresses, because `vanilla` points into it

  // The values that a key takes. Numbers are in ascending order, anything else in order of appearance.
  std::vector<std::string> levels(const std::string& key) const;
};

// Groups finished runs by data set, then by configuration without the seed.
std::vector<DataStudy> make_studies(const std::vector<RunRecord>& runs, const PublishedTable& published);

// The number that a value of the configuration stands for, or nullopt if it is no number.
std::optional<double> number_value(const std::string& toml_value);

// A string without its quotes, and any other value as in TOML.
std::string plain_value(const std::string& toml_value);

// Whether a published value is one that our seeds could have given.
struct PublishedVerdict {
  double published = 0.0;
  bool in_range = false;           // between the lowest and the highest seed
  bool in_prediction = false;      // inside SeedSpread::prediction
  std::optional<bool> acceptance;  // whether our mean is in the row's band, nullopt without a band
};
std::vector<PublishedVerdict> judge_published(const Group& group, const std::string& path);

}  // namespace spankey
