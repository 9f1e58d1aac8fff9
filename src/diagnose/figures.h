// The figures of a diagnosis as structs, and the JSON of diagnose.json that holds them.
//
// A struct names its members once, in a static function `fields(self, visit)` that calls visit("mean", self.mean) and
// so on, as the tables of a configuration do. A number that does not exist is NaN here and null there. An optional
// member without a value is left out there, and a map without entries is null.
#pragma once

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace spankey {

inline constexpr double no_number = std::numeric_limits<double>::quiet_NaN();

namespace figures {

struct AnyVisitor {
  template <class T>
  void operator()(const char*, T&) const {}
};

template <class T>
concept Struct = requires(T& value) {
  T::fields(value, AnyVisitor());
};
template <class T>
concept Map = requires {
  typename T::mapped_type;
};
template <class T>
concept List = !Map<T> && !std::same_as<T, std::string> && requires(const T& value) {
  value.begin();
};
template <class T>
concept Optional = requires(T& value) {
  value.emplace();
}
&&!Map<T>;

// Converts numbers, texts, and lists, maps and structs of them.
template <class T>
nlohmann::json to_json(const T& value) {
  nlohmann::json json;
  if constexpr (Struct<T>) {
    json = nlohmann::json::object();
    T::fields(value, [&](const char* name, const auto& member) {
      if constexpr (Optional<std::remove_cvref_t<decltype(member)>>) {
        if (member) json[name] = to_json(*member);
      } else {
        json[name] = to_json(member);
      }
    });
  } else if constexpr (Map<T>) {
    for (const auto& [name, member] : value) json[name] = to_json(member);
  } else if constexpr (List<T>) {
    json = nlohmann::json::array();
    for (const auto& element : value) json.push_back(to_json(element));
  } else if constexpr (std::same_as<T, double>) {
    if (std::isfinite(value)) json = value;
  } else {
    json = value;
  }
  return json;
}

// Does the inverse of to_json(). What `json` lacks keeps its value.
template <class T>
void read(const nlohmann::json& json, T& value) {
  if (json.is_null()) return;
  if constexpr (Struct<T>) {
    T::fields(value, [&](const char* name, auto& member) {
      const auto found = json.find(name);
      if (found == json.end()) return;
      if constexpr (Optional<std::remove_cvref_t<decltype(member)>>) {
        read(*found, member.emplace());
      } else {
        read(*found, member);
      }
    });
  } else if constexpr (Map<T>) {
    for (const auto& [name, member] : json.items()) read(member, value[name]);
  } else if constexpr (List<T>) {
    value.resize(json.size());
    for (std::size_t i = 0; i < value.size(); ++i) read(json[i], value[i]);
  } else {
    json.get_to(value);
  }
}

template <class T>
T from_json(const nlohmann::json& json) {
  T value;
  read(json, value);
  return value;
}

}  // namespace figures

// Statistics over samples, keys or images.
struct Spread {
  double mean = no_number, sd = no_number, min = no_number, max = no_number;
  std::int64_t count = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("mean", self.mean);
    visit("sd", self.sd);
    visit("min", self.min);
    visit("max", self.max);
    visit("count", self.count);
  }
};
Spread spread_of(const std::vector<double>& values);

struct Comparison {
  double predicted = no_number, measured = no_number;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("predicted", self.predicted);
    visit("measured", self.measured);
  }
};

// Figures of each way to read the answers. The ways are "class_logits" and, for networks that can reject, "as_shipped".
template <class T>
struct ByView {
  std::optional<T> class_logits, as_shipped;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit("class_logits", self.class_logits);
    visit("as_shipped", self.as_shipped);
  }
  void set(std::string_view view, T figures) {
    (view == "as_shipped" ? as_shipped : class_logits) = std::move(figures);
  }
  // Calls work(title of the view, its figures).
  template <class Work>
  void each(const Work& work) const {
    if (class_logits) work("class logits alone", *class_logits);
    if (as_shipped) work("as shipped", *as_shipped);
  }
};

}  // namespace spankey
