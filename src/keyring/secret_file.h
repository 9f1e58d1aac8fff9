// Files and folders that nobody but their owner may read (base/file.h has write_secret_durably()). Unless said
// otherwise, no symbolic link is followed at the last part of a path.
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include "keyring/secret_bytes.h"

namespace spankey {

// Error(bad_input) where the path is a link or no regular file, or the file is larger than `most_bytes`, which is
// checked before memory is taken.
SecretBytes read_secret_file(const std::filesystem::path& path, std::size_t most_bytes);
// Does the same for content that needs no locked memory, because it is sealed or public.
std::vector<std::byte> read_sealed_file(const std::filesystem::path& path, std::size_t most_bytes);
// The same for what anybody may have and keep where he likes: a link is followed.
std::vector<std::byte> read_public_file(const std::filesystem::path& path, std::size_t most_bytes);

// Makes the folder with mode 0700 whatever the umask. Error(bad_input) where anything of that name exists.
void make_secret_folder(const std::filesystem::path& path);

}  // namespace spankey
