#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/system_error.h"
#include "data/dataset.h"
#include "data/import.h"
#include "data/picture.h"

namespace spankey {

namespace {

namespace fs = std::filesystem;

template <class Keep>
std::vector<fs::path> sorted_entries(const fs::path& folder, Keep keep) {
  std::error_code error;
  std::vector<fs::path> entries;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (keep(*it)) entries.push_back(it->path());
  }
  if (error) fail_system(error, "cannot read folder {}", folder.string());
  std::sort(entries.begin(), entries.end());
  return entries;
}

std::vector<std::string> class_folders(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& path : sorted_entries(folder, [](const auto& entry) { return entry.is_directory(); })) {
    names.push_back(path.filename().string());
  }
  if (names.empty()) fail_input("{}: expected one folder per class", folder.string());
  return names;
}

// The first picture decides what all the others must be like.
struct Format {
  std::string first;
  std::int64_t channels = 0, height = 0, width = 0;

  void check(const Picture& picture, const std::string& name) {
    if (first.empty()) *this = {name, picture.channels, picture.height, picture.width};
    if (picture.channels == channels && picture.height == height && picture.width == width) return;
    fail_input("{}: offset 0: expected a picture of {} x {} pixels and {} channels as {}, found {} x {} and {}", name,
               width, height, channels, first, picture.width, picture.height, picture.channels);
  }
};

SplitContent read_split(const fs::path& folder, const std::vector<std::string>& classes, Format& format) {
  for (const std::string& name : class_folders(folder)) {
    if (!std::binary_search(classes.begin(), classes.end(), name)) {
      fail_input("{}: expected only classes that train/ has: {}", (folder / name).string(), fmt::join(classes, ", "));
    }
  }
  SplitContent split;
  const auto is_picture = [](const auto& entry) { return entry.is_regular_file() && has_picture_name(entry.path()); };
  for (std::size_t label = 0; label < classes.size(); ++label) {
    const fs::path inner = folder / classes[label];
    if (!fs::exists(inner)) continue;
    for (const fs::path& path : sorted_entries(inner, is_picture)) {
      const Picture picture = decode_picture(read_bytes(path), path.string());
      format.check(picture, path.string());
      split.images.insert(split.images.end(), picture.pixels.begin(), picture.pixels.end());
      split.labels.push_back(static_cast<std::int64_t>(label));
    }
  }
  if (split.labels.empty()) fail_input("{}: expected .jpg, .jpeg or .png files in the class folders", folder.string());
  return split;
}

}  // namespace

void import_folder(const fs::path& folder, const fs::path& out) {
  DatasetContent content;
  content.class_names = class_folders(folder / "train");
  Format format;
  content.train = read_split(folder / "train", content.class_names, format);
  content.test = read_split(folder / "test", content.class_names, format);
  content.sample_shape = {format.channels, format.height, format.width};
  content.source = "folders of pictures, one per class";
  Dataset::in_memory(std::move(content))->save(out);
}

}  // namespace spankey
