#include "data/builtin.h"

#include <array>
#include <string_view>

#include "config/names.h"

namespace spankey {
namespace {

struct Builtin {
  std::string_view name;
  DatasetContent (*make)();
};

constexpr auto builtins = std::to_array<Builtin>({
#define SPANKEY_BUILTIN_DATA(name, make) {name, make},
#include "config/builtin_data.inc"
#undef SPANKEY_BUILTIN_DATA
});

}  // namespace

DatasetContent make_builtin(const std::string& name) {
  return find_named(builtins, name, "data set").make();
}

}  // namespace spankey
