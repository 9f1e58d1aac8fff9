// The names that a configuration may use for networks, deny losses, families of wrong keys, optimisers and built-in
// data sets. Each name has one line in a .inc file of this folder, which is its registry. The configuration reads the
// names from it, and the layers above read the functions that they stand for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace spankey {

// A few sizes in a line of a registry.
struct Extents {
  std::array<std::int64_t, 8> values{};
  std::size_t count = 0;
  constexpr std::span<const std::int64_t> all() const { return std::span(values).first(count); }
};
template <class... Size>
constexpr Extents extents(Size... sizes) {
  return {.values = {sizes...}, .count = sizeof...(sizes)};
}

// What changes places at an injection point under key.permute. Where a convolution follows, whole channels of (C, H, W)
// do, because it needs the neighbours of a pixel. Where a linear layer follows, every element does. In an activation
// (tokens, width) the numbers of a token do, in the same way for each token. At `nothing` there is too little to hide.
enum class Moves { nothing, elements, channels, numbers };

struct PointMoves {
  std::array<Moves, 8> values{};
  std::size_t count = 0;
};
template <class... Move>
constexpr PointMoves moves(Move... at_points) {
  return {.values = {at_points...}, .count = sizeof...(at_points)};
}

// What is known about a network before it is constructed. A size of 0 is taken from the data.
struct NetworkFacts {
  std::string_view name;
  Extents sample;    // (C, H, W) or (D)
  Extents widths;    // of the key at each injection point
  PointMoves moves;  // at each injection point
};

inline constexpr auto network_facts = std::to_array<NetworkFacts>({
#define SPANKEY_NETWORK(name, make, sample, widths, ...) {name, sample, widths, __VA_ARGS__},
#include "config/networks.inc"
#undef SPANKEY_NETWORK
});

// Returns what key.permute moves at injection point `point` of the network `name`, which is one of the registry's.
Moves moves_at(std::string_view name, std::int64_t point);

// True where the network takes samples of this shape.
bool takes(const NetworkFacts& network, std::span<const std::int64_t> sample_shape);
std::string shape_text(const NetworkFacts& network);  // shape of its samples, such as "1, 28, 28" or "D"

namespace registry_names {

inline constexpr auto networks = std::to_array<std::string_view>({
#define SPANKEY_NETWORK(name, ...) name,
#include "config/networks.inc"
#undef SPANKEY_NETWORK
});

inline constexpr auto deny_losses = std::to_array<std::string_view>({
    "none",
#define SPANKEY_DENY_LOSS(name, needs, draws_labels, loss) name,
#include "config/deny_losses.inc"
#undef SPANKEY_DENY_LOSS
});

inline constexpr auto key_families = std::to_array<std::string_view>({
#define SPANKEY_KEY_FAMILY(name, ...) name,
#include "config/key_families.inc"
#undef SPANKEY_KEY_FAMILY
});

inline constexpr auto optimizers = std::to_array<std::string_view>({
#define SPANKEY_OPTIMIZER(name, make) name,
#include "config/optimizers.inc"
#undef SPANKEY_OPTIMIZER
});

inline constexpr auto builtin_data = std::to_array<std::string_view>({
#define SPANKEY_BUILTIN_DATA(name, make) name,
#include "config/builtin_data.inc"
#undef SPANKEY_BUILTIN_DATA
});

}  // namespace registry_names

// True where keys of this family of wrong keys have something of a valid key in them, so that only a holder of one can
// make them. False for a name that is no family's, which results of other versions may hold.
bool is_derived_family(std::string_view name);

bool same_name(std::string_view a, std::string_view b);  // ignores case

// Throws Error(bad_input) "ASKED "NAME": accepted: "a", "b" or "c"; did you mean 'a'?".
[[noreturn]] void fail_unknown_name(std::string_view asked, std::string_view name,
                                    std::span<const std::string_view> names);

// Returns the entry of a table of named things that is called `name`, in any case. `asked` says where the name was
// written and begins the message, as in "--families" or "c.toml:3: deny.mode =". Throws Error(bad_input) as
// fail_unknown_name does.
template <class Table>
const auto& find_named(const Table& table, std::string_view name, std::string_view asked) {
  for (const auto& entry : table)
    if (same_name(entry.name, name)) return entry;
  std::vector<std::string_view> names;
  for (const auto& entry : table) names.push_back(entry.name);
  fail_unknown_name(asked, name, names);
}

}  // namespace spankey
