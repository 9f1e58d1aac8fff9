// Reading and comparing golden files (README.md in this folder). Sizes, names and hyper-parameters come from the files.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/hdf5_file.h"

namespace spankey::golden {

// `name` in the folder of SPANKEY_GOLDEN_DIR, or in tests/golden of the source tree. The test runs on one thread then.
h5::File open(const std::string& name);

// A data set in its stored type: float32, float64 or int64.
at::Tensor tensor(const h5::File& file, const std::string& dataset);
// The same in float64.
at::Tensor widened(const h5::File& file, const std::string& dataset);

// Fails the test for each attribute, data set or sub-group of `object` that matches no pattern (fnmatch), for what this
// code does not understand must not pass as checked.
void expect_known(const h5::File& file, const std::string& object, const std::vector<std::string>& attributes,
                  const std::vector<std::string>& datasets, const std::vector<std::string>& groups = {});

std::string text(const h5::File& file, const std::string& object, const std::string& attribute,
                 const std::string& absent);
double number(const h5::File& file, const std::string& object, const std::string& attribute, double absent);
bool flag(const h5::File& file, const std::string& object, const std::string& attribute);  // absent: false

// Largest |a - b| <= tolerance * max(1, largest |b|)
void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance, const std::string& what);
void expect_close(double actual, double expected, double tolerance, const std::string& what);

// A tensor against its row of 11 numbers: sum, sum of squares, sum a[i] cos(0.9 i), the first and the last four
// elements.
void expect_check(const at::Tensor& actual, const at::Tensor& row, double tolerance, const std::string& what);

// Closed forms of the files.
double hash_value(std::uint64_t seed, std::uint64_t p, std::uint64_t i);             // in [-1, 1)
at::Tensor hash_values(std::uint64_t seed, std::uint64_t p, at::IntArrayRef shape);  // float64, i = 0, 1, ...
at::Tensor closed_parameter(const std::string& rule, std::uint64_t seed, std::int64_t index, const std::string& name,
                            at::IntArrayRef shape);
at::Tensor closed_input(double phase, at::IntArrayRef shape);
at::Tensor closed_key(std::int64_t layer, double phase, std::int64_t width, std::int64_t rows);

// Row p of param_shapes without its padding.
std::vector<std::int64_t> stored_shape(const h5::File& file, const std::string& group, std::int64_t p);

// Cases of one file: prints how many ran and were skipped and the largest deviations; at the end of the test at least
// one must have run.
class Tally {
 public:
  explicit Tally(std::string file) : file_(std::move(file)) {}
  ~Tally();
  void run() { ++run_; }
  void skip(const std::string& reason) { ++skipped_[reason]; }

 private:
  std::string file_;
  int run_ = 0;
  std::map<std::string, int> skipped_;
};

}  // namespace spankey::golden
