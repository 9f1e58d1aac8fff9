#include "data/contact_sheet.h"

#include <algorithm>

#include "base/error.h"
#include "base/file.h"
#include "data/picture.h"

namespace spankey {

namespace {

constexpr std::int64_t sheet_columns = 16, most_rows = 32, gap = 1;
constexpr std::uint8_t line_grey = 96;

void paste(const Dataset& dataset, std::int64_t sample, std::int64_t top, std::int64_t left, Picture& sheet) {
  const auto& shape = dataset.info().sample_shape;  // (C, H, W)
  const std::uint8_t* from = dataset.train().images.data() + sample * dataset.info().sample_size();
  for (std::int64_t c = 0; c < shape[0]; ++c) {
    for (std::int64_t y = 0; y < shape[1]; ++y, from += shape[2]) {
      std::copy_n(from, shape[2], sheet.pixels.data() + (c * sheet.height + top + y) * sheet.width + left);
    }
  }
}

}  // namespace

void contact_sheet_png(const Dataset& dataset, const std::filesystem::path& path) {
  if (!dataset.is_images()) fail_input("{}: a contact sheet needs images; the data set has features", path.string());
  const auto& shape = dataset.info().sample_shape;
  if (shape[0] != 1 && shape[0] != 3) {
    fail_input("{}: a contact sheet needs images of 1 or 3 channels; these have {}", path.string(), shape[0]);
  }
  const std::int64_t rows = std::min(most_rows, dataset.info().classes);
  Picture sheet{shape[0], rows * (shape[1] + gap) + gap, sheet_columns * (shape[2] + gap) + gap, {}};
  sheet.pixels.assign(static_cast<std::size_t>(sheet.channels * sheet.height * sheet.width), line_grey);
  std::vector<std::int64_t> shown(static_cast<std::size_t>(rows));
  for (std::int64_t sample = 0; sample < dataset.train().size; ++sample) {
    const std::int64_t label = dataset.train().labels[static_cast<std::size_t>(sample)];
    if (label >= rows) continue;
    std::int64_t& column = shown[static_cast<std::size_t>(label)];
    if (column == sheet_columns) continue;
    paste(dataset, sample, gap + label * (shape[1] + gap), gap + column * (shape[2] + gap), sheet);
    ++column;
  }
  write_durably(path, encode_png(sheet));
}

}  // namespace spankey
