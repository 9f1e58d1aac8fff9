// Reads passphrases from a file, an open descriptor, or the terminal without echo. They never come from the command
// line, which everybody on the machine can read.
#pragma once

#include <string>

#include "keyring/secret_bytes.h"

namespace spankey::cli {

struct PassphraseSource {
  std::string file;     // empty: none
  int descriptor = -1;  // -1: none
  std::string file_flag = "--passphrase-file", descriptor_flag = "--passphrase-fd";
};

inline constexpr std::size_t least_passphrase_bytes = 8;  // of a new one
inline constexpr std::size_t most_passphrase_bytes = 4096;

// Returns the passphrase of something that exists. `whose` completes "passphrase of ...". A line break at its end does
// not belong to it. Error(bad_input) where there is none.
SecretBytes read_passphrase(const PassphraseSource& source, const std::string& whose);

// Returns a passphrase for something new. The terminal asks twice.
SecretBytes read_new_passphrase(const PassphraseSource& source, const std::string& whose);

}  // namespace spankey::cli
