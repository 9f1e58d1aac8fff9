// The key basis as a file (secret/basis.h5): one data set a layer and the digest, with the footer of
// base/sealed_file.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "spankey/keys/basis.h"

namespace spankey {

// Written durably with mode 0600; the copies in memory are wiped.
void save_basis(const Basis& basis, const std::filesystem::path& path);

// Error(bad_input) where the file holds other matrices than (m, dims[0]), (m, dims[1]), ...; this is found before any
// is read.
Basis load_basis(const std::filesystem::path& path, std::int64_t m, const std::vector<std::int64_t>& dims);

}  // namespace spankey
