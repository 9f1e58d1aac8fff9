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

// Makes one key for each request and commits them together. `check` sees each key before anything is written, and may
// throw. Returns the issued keys in the order of the requests. Error(bad_input) for a name that is none, times out of
// order, or a file that exists. Error(run_failed) where a fingerprint is too near another key's.
std::vector<IssuedKey> issue_keys(OwnerFolder& folder, const std::vector<IssueRequest>& requests, std::int64_t now,
                                  const std::function<void(const UserKey&)>& check = {});

}  // namespace spankey
