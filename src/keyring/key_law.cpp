#include "keyring/key_law.h"

#include <algorithm>
#include <limits>

#include "config/value.h"
#include "keyring/header_fields.h"
#include "keyring/key_facts.h"

namespace spankey {
namespace {

struct WriteLaw {
  nlohmann::json& out;

  template <class T>
  void operator()(const T& value, const FieldOf<T>& field) const {
    if constexpr (ConfigEnum<T>)
      out[std::string(field.name)] = to_string(value);
    else
      out[std::string(field.name)] = value;
  }
};

struct ReadLaw {
  HeaderFields& in;

  template <class T>
  void operator()(T& value, const FieldOf<T>& field) const {
    const std::string name(field.name);
    constexpr double most_integer = static_cast<double>(std::int64_t{1} << 53);
    const auto integer_bound = [&](double bound) {
      return static_cast<std::int64_t>(std::clamp(bound, -most_integer, most_integer));
    };
    if constexpr (ConfigEnum<T>) {
      value = word<T>(name);
    } else if constexpr (std::is_same_v<T, bool>) {
      value = in.flag(name.c_str());
    } else if constexpr (std::is_same_v<T, std::int64_t>) {
      value = in.integer(name.c_str(), integer_bound(field.bounds.low), integer_bound(field.bounds.high));
    } else if constexpr (std::is_same_v<T, double>) {
      constexpr double most = std::numeric_limits<double>::max();
      value = in.number(name.c_str(), std::max(field.bounds.low, -most), std::min(field.bounds.high, most));
      if (field.bounds.low_open && value == field.bounds.low) in.refuse(name, "more");
    } else {
      value = in.integers(name.c_str(), 0, 1 << 20, most_key_sites);
    }
  }

  template <class E>
  E word(const std::string& name) const {
    const auto text = in.text(name.c_str(), 64);
    constexpr auto words = enum_words(E{});
    for (std::size_t i = 0; i < words.size(); ++i)
      if (text == words[i]) return static_cast<E>(i);
    in.refuse(name, alternatives(words));
  }
};

}  // namespace

nlohmann::json key_law_json(const KeyConfig& key) {
  auto object = nlohmann::json::object();
  KeyConfig::fields(key, WriteLaw{object});
  return object;
}

KeyConfig read_key_law(const nlohmann::json& object, const std::string& name) {
  HeaderFields fields(object, name);
  KeyConfig key;
  KeyConfig::fields(key, ReadLaw{fields});
  fields.require_no_others();
  return key;
}

}  // namespace spankey
