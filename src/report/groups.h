// Runs that differ in run.seed alone are a group: what its seeds say together, and what tells groups apart.
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

// A figure over the seeds of a group.
struct SeedSpread {
  std::vector<double> values;  // one a seed
  Summary summary;
  // 95 % intervals of the mean and of what one more seed gives, see mean_share_interval(); NaN below two seeds. Of
  // figures that may be negative, differences of two shares, the same on [-1, 1].
  Interval mean_interval, prediction;
};
SeedSpread spread_over_seeds(std::vector<double> values, bool differences = false);

struct Group {
  std::string label;                        // the varied settings, or the name
  std::vector<const RunRecord*> runs;       // one a seed, by seed; never empty
  std::vector<const RunRecord*> repeats;    // further runs of a seed: shown, not counted
  std::map<std::string, std::string> keys;  // every key that decides the result, but run.seed
  const Group* vanilla = nullptr;           // the twin without keys: the same but for train.twin, key.*, deny.*
  PublishedMatch published;

  const Config& config() const { return runs.front()->config; }
  // Of the runs that have the figure; nothing where none has.
  std::optional<SeedSpread> spread(const std::string& path) const;
  double mean(const std::string& path) const;  // NaN where no run has it
  const RunRecord& least_withholding() const;  // the seed whose lock withholds least
};

// The groups that were trained and measured on one data set: only these are compared in one table.
struct DataStudy {
  std::string data;                 // its file name and the beginning of its digest
  std::vector<std::string> varied;  // keys whose values differ between groups
  std::deque<Group> groups;         // a deque: twins point at each other

  // The values that a key takes: numbers in ascending order, anything else in order of appearance.
  std::vector<std::string> levels(const std::string& key) const;
};

// Of the runs that are done.
std::vector<DataStudy> make_studies(const std::vector<RunRecord>& runs, const PublishedTable& published);

// The number that a value of the configuration is, if it is one.
std::optional<double> number_value(const std::string& toml_value);

// "B" without its quotes, everything else as in TOML.
std::string plain_value(const std::string& toml_value);

// Whether a published value is one that our seeds could have given.
struct PublishedVerdict {
  double published = 0.0;
  bool in_range = false;           // between the lowest and the highest seed
  bool in_prediction = false;      // inside SeedSpread::prediction
  std::optional<bool> acceptance;  // where the row has a band for the figure: whether our mean lies in it
};
std::vector<PublishedVerdict> judge_published(const Group& group, const std::string& path);

}  // namespace spankey
