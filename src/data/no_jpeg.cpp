// Stands in for jpeg.cpp in a program that was built where libjpeg is not.
#include "base/error.h"
#include "data/picture.h"

namespace spankey {

Picture decode_jpeg(std::span<const std::byte>, const std::string& name, Remarks&) {
  fail_input(
      "{}: a JPEG, and this program was built without libjpeg; accepted: a program built with it (Debian libjpeg-dev, "
      "Fedora libjpeg-turbo-devel, conda or Spack libjpeg-turbo)",
      name);
}

}  // namespace spankey
