#include <fmt/ranges.h>

#include <algorithm>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "data/dataset.h"
#include "data/import.h"
#include "data/picture.h"
#include "data/remarks.h"

namespace spankey {

namespace {

namespace fs = std::filesystem;

// The sorted content of a folder, without names that start with a dot, which are side files of systems and editors.
std::vector<fs::path> sorted_entries(const fs::path& folder, Remarks& remarks) {
  std::error_code error;
  std::vector<fs::path> entries;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename().string().starts_with('.'))
      remarks.add("passed over, names that start with a dot", it->path().string());
    else
      entries.push_back(it->path());
  }
  if (error) fail_system(error, "cannot read folder {}", folder.string());
  std::sort(entries.begin(), entries.end());
  return entries;
}

// The type of the file to which a link leads. not_found where it leads nowhere.
fs::file_type type_of(const fs::path& path) {
  std::error_code error;
  const auto type = fs::status(path, error).type();
  if (type == fs::file_type::none) fail_input("cannot read {}: {}", path.string(), error.message());
  return type;
}

std::vector<std::string> class_folders(const fs::path& folder, Remarks& remarks) {
  std::vector<std::string> names;
  for (const fs::path& path : sorted_entries(folder, remarks)) {
    const auto type = type_of(path);
    if (type == fs::file_type::directory)
      names.push_back(path.filename().string());
    else
      remarks.add(type == fs::file_type::not_found ? "passed over, links that lead nowhere"
                                                   : "passed over, beside the folders of the classes",
                  path.string());
  }
  if (names.empty()) fail_input("{}: expected one folder per class", folder.string());
  return names;
}

// Why an entry of a class folder is no picture, or "".
std::string why_not_picture(const fs::path& path) {
  switch (type_of(path)) {
    case fs::file_type::regular:
      break;
    case fs::file_type::directory:
      return "folders inside of a class";
    case fs::file_type::not_found:
      return "links that lead nowhere";
    default:
      return "neither files nor folders";
  }
  if (has_picture_name(path)) return "";
  const std::string extension = path.extension().string();
  return fmt::format("names other than .jpg, .jpeg or .png ({})", extension.empty() ? "without any" : extension);
}

std::vector<fs::path> pictures_of(const fs::path& folder, Remarks& remarks) {
  std::vector<fs::path> pictures;
  for (const fs::path& path : sorted_entries(folder, remarks)) {
    const std::string why_not = why_not_picture(path);
    if (why_not.empty())
      pictures.push_back(path);
    else
      remarks.add("passed over, " + why_not, path.string());
  }
  return pictures;
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

class FolderReader {
 public:
  explicit FolderReader(fs::path root) : root_(std::move(root)) {}

  DatasetContent read() {
    DatasetContent content;
    content.class_names = class_folders(root_ / "train", remarks_);
    content.train = split(root_ / "train", content.class_names, /*every_class=*/true);
    for (const std::string& name : class_folders(root_ / "test", remarks_))
      if (!std::binary_search(content.class_names.begin(), content.class_names.end(), name))
        fail_input("{}: expected only classes that train/ has: {}", (root_ / "test" / name).string(),
                   fmt::join(content.class_names, ", "));
    content.test = split(root_ / "test", content.class_names, /*every_class=*/false);
    if (content.test.labels.empty())
      fail_input("{}: expected .jpg, .jpeg or .png files in the class folders", (root_ / "test").string());
    content.sample_shape = {format_.channels, format_.height, format_.width};
    content.source = "folders of pictures, one per class";
    return content;
  }
  const Remarks& remarks() const { return remarks_; }

 private:
  SplitContent split(const fs::path& folder, const std::vector<std::string>& classes, bool every_class) {
    SplitContent split;
    for (std::size_t label = 0; label < classes.size(); ++label) {
      const fs::path inner = folder / classes[label];
      if (type_of(inner) != fs::file_type::directory) continue;
      Remarks passed_over;
      const auto pictures = pictures_of(inner, passed_over);
      if (every_class && pictures.empty())
        fail_input("{}: expected .jpg, .jpeg or .png files to train the class on, found none{}{}", inner.string(),
                   passed_over.sentences().empty() ? "" : "; ", fmt::join(passed_over.sentences(), "; "));
      remarks_.add(passed_over);
      for (const fs::path& path : pictures) {
        const Picture picture = decode_picture(read_bytes(path), path.string(), remarks_);
        format_.check(picture, path.string());
        split.images.insert(split.images.end(), picture.pixels.begin(), picture.pixels.end());
        split.labels.push_back(static_cast<std::int64_t>(label));
      }
    }
    return split;
  }

  fs::path root_;
  Format format_;
  Remarks remarks_;
};

}  // namespace

void import_folder(const fs::path& folder, const fs::path& out) {
  FolderReader reader(folder);
  Dataset::in_memory(reader.read())->save(out);
  for (const std::string& sentence : reader.remarks().sentences()) log::warning("{}", sentence);
}

}  // namespace spankey
