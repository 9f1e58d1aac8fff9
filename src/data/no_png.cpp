// Stands in for png.cpp in a program that was built where libpng is not.
#include <string_view>

#include "base/error.h"
#include "data/picture.h"

namespace spankey {
namespace {

constexpr std::string_view accepted =
    "this program was built without libpng; accepted: a program built with it (Debian libpng-dev, Fedora "
    "libpng-devel, conda or Spack libpng)";

}  // namespace

Picture decode_png(std::span<const std::byte>, const std::string& name, Remarks&) {
  fail_input("{}: a PNG, and {}", name, accepted);
}

std::vector<std::byte> encode_png(const Picture&) {
  fail_input("a PNG cannot be made: {}", accepted);
}

}  // namespace spankey
