// The key basis as a file (secret/basis.h5). It has one data set a layer, the digest, and the footer of
// base/sealed_file.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "spankey/keys/basis.h"

namespace spankey {

// Writes the file durably with mode 0600, and wipes the copies in memory.
void save_basis(const Basis& basis, const std::filesystem::path& path);

// Throws Error(bad_input) where the file holds other matrices than (m, dims[0]), (m, dims[1]), ... The shapes are
// checked before any matrix is read.
Basis load_basis(const std::filesystem::path& path, std::int64_t m, const std::vector<std::int64_t>& dims);

}  // namespace spankey
