// Issues keys of an opened owner's folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "keyring/owner_folder.h"
#include "keyring/user_key.h"

namespace spankey {

struct IssueRequest {
  std::string name;  // of the holder
  std::int64_t not_before = 0, not_after = 0;
  std::filesystem::path out;  // where user.skk goes; must not exist
  SealWith seal;
};

// Returns why a key is not good enough to be handed out, or nothing.
using KeyCheck = std::function<std::string(const UserKey&)>;

inline constexpr std::uint32_t most_draws = 16;  // of a key that `check` refuses

// Makes one key for each request and commits them together. `check` sees each key before anything is written. One that
// it refuses is drawn again with other coefficients, since the serial would give the same key for ever. Returns the
// issued keys in the order of the requests. Error(bad_input) for a name that is none, times that are out of order or
// past, or a file that exists or cannot be written. Error(run_failed) where a fingerprint is too near another key's, or
// `check` refuses every draw.
std::vector<IssuedKey> issue_keys(OwnerFolder& folder, const std::vector<IssueRequest>& requests, std::int64_t now,
                                  const KeyCheck& check = {});

}  // namespace spankey
