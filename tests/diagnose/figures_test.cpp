#include "diagnose/figures.h"

#include <gtest/gtest.h>

#include <map>

namespace spankey::figures_test {
namespace {

struct Part {
  double value = no_number;
  std::optional<double> more;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("value", self.value);
    visit("more", self.more);
  }
};

struct Whole {
  std::string name;
  std::vector<Part> parts;
  std::map<std::string, double> quantiles;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("name", self.name);
    visit("parts", self.parts);
    visit("quantiles", self.quantiles);
  }
};

TEST(Figures, WhatDoesNotExistIsNullAndWhatIsOptionalIsLeftOut) {
  const Whole whole{"w", {{0.5, 2.0}, {}}, {}};
  const auto json = figures::to_json(whole);
  EXPECT_EQ(json, nlohmann::json::parse(
                      R"({"name": "w", "parts": [{"value": 0.5, "more": 2.0}, {"value": null}], "quantiles": null})"));
  const auto back = figures::from_json<Whole>(json);
  EXPECT_TRUE(std::isnan(back.parts.at(1).value));
  EXPECT_FALSE(back.parts.at(1).more.has_value());
  EXPECT_EQ(figures::to_json(back), json);
}

TEST(Figures, InfinityDoesNotExistInJson) {
  EXPECT_TRUE(figures::to_json(std::numeric_limits<double>::infinity()).is_null());
}

TEST(Figures, ViewsStandInTheirOrder) {
  ByView<double> views;
  views.set("as_shipped", 2.0);
  views.set("class_logits", 1.0);
  std::string seen;
  views.each([&](const char* title, double value) { seen += title + std::to_string(static_cast<int>(value)) + ";"; });
  EXPECT_EQ(seen, "class logits alone1;as shipped2;");
  EXPECT_EQ(figures::to_json(views).size(), 2U);
}

}  // namespace
}  // namespace spankey::figures_test
