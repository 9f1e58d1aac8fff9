#include "base/version.h"

#include "revision.h"

namespace spankey {

std::string program_version() {
  return SPANKEY_VERSION " (git " SPANKEY_GIT_REVISION ")";
}

}  // namespace spankey
