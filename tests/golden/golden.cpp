#include "golden/golden.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fnmatch.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>

namespace spankey::golden {
namespace {

// Largest deviation over tolerance so far, by kind of comparison.
struct Largest {
  double used = 0;
  std::string what;
};
Largest& largest() {
  static Largest value;
  return value;
}

void note(double deviation, double allowed, const std::string& what) {
  if (deviation <= allowed && allowed > 0 && deviation / allowed > largest().used)
    largest() = {deviation / allowed, what};
}

bool matches(const std::string& name, const std::vector<std::string>& patterns) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](const std::string& pattern) { return fnmatch(pattern.c_str(), name.c_str(), 0) == 0; });
}

}  // namespace

h5::File open(const std::string& name) {
  at::set_num_threads(1);  // the cases are small, and where other work wants the cores a second thread is waited for
  const char* folder = std::getenv("SPANKEY_GOLDEN_DIR");
  return h5::File::open(std::filesystem::path(folder ? folder : SPANKEY_GOLDEN_SOURCE) / name);
}

at::Tensor tensor(const h5::File& file, const std::string& dataset) {
  const h5::Info info = file.info(dataset);
  const auto type = info.type == h5::Type::float32   ? at::kFloat
                    : info.type == h5::Type::float64 ? at::kDouble
                                                     : at::kLong;
  at::Tensor result = at::empty(info.shape, type);
  file.read_raw(dataset, {static_cast<std::byte*>(result.mutable_data_ptr()), result.nbytes()});
  return result;
}

at::Tensor widened(const h5::File& file, const std::string& dataset) {
  return tensor(file, dataset).to(at::kDouble);
}

void expect_known(const h5::File& file, const std::string& object, const std::vector<std::string>& attributes,
                  const std::vector<std::string>& datasets, const std::vector<std::string>& groups) {
  for (const auto& name : file.attribute_names(object))
    EXPECT_TRUE(name == "origin" || name == "note" || matches(name, attributes))
        << "unknown attribute " << object << "@" << name;
  for (const auto& name : file.datasets(object))
    EXPECT_TRUE(matches(name, datasets)) << "unknown data set " << object << "/" << name;
  for (const auto& name : file.groups(object))
    EXPECT_TRUE(matches(name, groups)) << "unknown group " << object << "/" << name;
}

std::string text(const h5::File& file, const std::string& object, const std::string& attribute,
                 const std::string& absent) {
  return file.has_attribute(object, attribute) ? file.string_attribute(object, attribute) : absent;
}

double number(const h5::File& file, const std::string& object, const std::string& attribute, double absent) {
  return file.has_attribute(object, attribute) ? file.doubles_attribute(object, attribute).at(0) : absent;
}

bool flag(const h5::File& file, const std::string& object, const std::string& attribute) {
  return number(file, object, attribute, 0.0) != 0.0;
}

void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(actual.sizes(), expected.sizes()) << what;
  if (expected.numel() == 0) return;
  const at::Tensor a = actual.detach().to(at::kDouble), b = expected.to(at::kDouble);
  const double allowed = tolerance * std::max(1.0, b.abs().max().item<double>());
  const double deviation = (a - b).abs().max().item<double>();
  EXPECT_LE(deviation, allowed) << what;
  note(deviation, allowed, what);
}

void expect_close(double actual, double expected, double tolerance, const std::string& what) {
  const double allowed = tolerance * std::max(1.0, std::abs(expected));
  EXPECT_NEAR(actual, expected, allowed) << what;
  note(std::abs(actual - expected), allowed, what);
}

void expect_check(const at::Tensor& actual, const at::Tensor& row, double tolerance, const std::string& what) {
  const at::Tensor a = actual.detach().to(at::kDouble).contiguous().view({-1});
  ASSERT_EQ(row.numel(), 11) << what;
  const double* expected = row.const_data_ptr<double>();
  const std::int64_t n = a.numel(), samples = std::min<std::int64_t>(n, 4);
  const double squares = expected[1], scale = std::sqrt(squares);
  std::vector<double> mine = {a.sum().item<double>(), a.square().sum().item<double>(),
                              (a * (0.9 * at::arange(n, at::kDouble)).cos()).sum().item<double>()};
  std::vector<double> allowed = {tolerance * std::sqrt(static_cast<double>(n)) * scale, tolerance * squares,
                                 tolerance * std::sqrt(static_cast<double>(n)) * scale};
  mine.resize(11, 0.0);
  allowed.resize(11, tolerance * scale);
  for (std::int64_t i = 0; i < samples; ++i) {
    mine[static_cast<std::size_t>(3 + i)] = a[i].item<double>();
    mine[static_cast<std::size_t>(7 + i)] = a[n - samples + i].item<double>();
  }
  for (std::size_t i = 0; i < 11; ++i) {
    EXPECT_NEAR(mine[i], expected[i], allowed[i] + 1e-300) << what << ", column " << i;
    note(std::abs(mine[i] - expected[i]), allowed[i], what);
  }
}

double hash_value(std::uint64_t seed, std::uint64_t p, std::uint64_t i) {
  constexpr std::uint64_t a = 0x9E3779B97F4A7C15, b = 0xBF58476D1CE4E5B9, c = 0x94D049BB133111EB;
  std::uint64_t z = (i + 1) * a + p * b + seed * c;
  z = (z ^ (z >> 30)) * b;
  z = (z ^ (z >> 27)) * c;
  z ^= z >> 31;
  return 2.0 * (static_cast<double>(z >> 11) * 0x1p-53) - 1.0;
}

at::Tensor hash_values(std::uint64_t seed, std::uint64_t p, at::IntArrayRef shape) {
  at::Tensor result = at::empty(shape, at::kDouble);
  double* values = result.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < result.numel(); ++i) values[i] = hash_value(seed, p, static_cast<std::uint64_t>(i));
  return result;
}

at::Tensor closed_parameter(const std::string& rule, std::uint64_t seed, std::int64_t index, const std::string& name,
                            at::IntArrayRef shape) {
  at::Tensor base = hash_values(seed, static_cast<std::uint64_t>(index), shape);
  if (rule == "sin") {
    double* values = base.mutable_data_ptr<double>();
    for (std::int64_t i = 0; i < base.numel(); ++i)
      values[i] =
          std::sin(0.37 * static_cast<double>(i) + 1.7 * static_cast<double>(index) + 0.01 * static_cast<double>(seed));
  } else {
    EXPECT_EQ(rule, "mix");
  }
  if (shape.size() >= 2) {
    const double fan_in = static_cast<double>(base.numel()) / static_cast<double>(shape[0]);
    return base * ((rule == "mix" ? std::sqrt(3.0) : 1.0) / std::sqrt(fan_in));
  }
  return name.ends_with("weight") ? 1 + 0.1 * base : 0.1 * base;
}

at::Tensor closed_input(double phase, at::IntArrayRef shape) {
  at::Tensor result = at::empty(shape, at::kDouble);
  double* values = result.mutable_data_ptr<double>();
  for (std::int64_t i = 0; i < result.numel(); ++i)
    values[i] =
        std::sin(0.11 * static_cast<double>(i) + phase) + 0.3 * std::cos(0.013 * static_cast<double>(i) + phase);
  return result;
}

at::Tensor closed_key(std::int64_t layer, double phase, std::int64_t width, std::int64_t rows) {
  at::Tensor result = at::empty({rows, width}, at::kDouble);
  double* values = result.mutable_data_ptr<double>();
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < width; ++i)
      values[r * width + i] =
          std::sin(0.7 * static_cast<double>(i) + static_cast<double>(layer) + phase + 0.5 * static_cast<double>(r));
  return result;
}

std::vector<std::int64_t> stored_shape(const h5::File& file, const std::string& group, std::int64_t p) {
  const at::Tensor shapes = tensor(file, group + "/param_shapes");
  const auto dims = tensor(file, group + "/param_ndim")[p].item<std::int64_t>();
  std::vector<std::int64_t> result;
  for (std::int64_t i = 0; i < dims; ++i) result.push_back(shapes[p][i].item<std::int64_t>());
  return result;
}

Tally::~Tally() {
  int skipped = 0;
  for (const auto& [reason, count] : skipped_) skipped += count;
  std::cout << file_ << ": " << run_ << " cases run, " << skipped << " skipped";
  for (const auto& [reason, count] : skipped_) std::cout << "; " << reason << ": " << count;
  std::cout << "\n"
            << file_ << ": largest deviation is " << largest().used << " of its tolerance (" << largest().what << ")"
            << std::endl;
  EXPECT_GT(run_, 0) << file_ << ": no case was run";
}

}  // namespace spankey::golden
