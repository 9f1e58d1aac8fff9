#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <span>
#include <system_error>

#include "base/error.h"
#include "cli/command.h"
#include "cli/number_option.h"
#include "data/argmax.h"
#include "data/contact_sheet.h"
#include "data/dataset.h"
#include "data/glyphs.h"
#include "data/import.h"

namespace spankey::cli {
namespace {

// A mistyped name is the caller's mistake and is reported before any work.
void require_writable(const std::string& file, const std::string& flag) {
  std::error_code error;
  if (std::filesystem::is_directory(file, error))
    fail_input("{} {}: this is a folder; accepted: a file in a folder that exists", flag, file);
  const auto folder = std::filesystem::absolute(file).parent_path();
  if (!std::filesystem::is_directory(folder, error))
    fail_input("{} {}: there is no folder {}; accepted: a file in a folder that exists", flag, file, folder.string());
}

// Features are not copied, because they may exceed the memory.
void print_features(std::span<const float> features) {
  double sum = 0.0, squares = 0.0;
  for (const double value : features) {
    sum += value;
    squares += value * value;
  }
  const double count = static_cast<double>(features.size()), mean = sum / count;
  fmt::print("features      mean {:.4f}, sd {:.4f}, used as they are\n", mean,
             std::sqrt(std::max(0.0, squares / count - mean * mean)));
}

void print_info(const std::string& file, const Dataset& dataset) {
  const auto& info = dataset.info();
  fmt::print("file          {}\n", file);
  fmt::print("samples       {} train, {} test\n", dataset.train().size, dataset.test().size);
  std::string shape;
  for (const auto extent : info.sample_shape) shape += fmt::format("{}{}", shape.empty() ? "" : " x ", extent);
  fmt::print("sample        {}, {}\n", shape,
             dataset.is_images() ? "uint8 (channels, height, width)" : "float32 features");
  if (dataset.is_images())
    for (std::size_t c = 0; c < info.mean.size(); ++c)
      fmt::print("channel {}     mean {:.4f}, sd {:.4f} of pixel / 255\n", c, info.mean[c], info.std[c]);
  else
    print_features(dataset.train().features);
  fmt::print("source        {}\n", info.source);
  fmt::print("digest        {}\n", info.digest);
  fmt::print("majority      {:.4f} train, {:.4f} test\n", dataset.majority_rate(dataset.train()),
             dataset.majority_rate(dataset.test()));
  const auto train = dataset.class_counts(dataset.train()), test = dataset.class_counts(dataset.test());
  fmt::print("class         train    test\n");
  for (std::size_t c = 0; c < train.size(); ++c)
    fmt::print("  {:<9} {:>7} {:>7}\n", info.class_names[c], train[c], test[c]);
}

using Import = void (*)(const std::filesystem::path&, const std::filesystem::path&);

void add_import(CLI::App& group, const char* name, const char* description, Import import, Action& action) {
  auto* command = group.add_subcommand(name, description);
  const auto from = std::make_shared<std::string>(), out = std::make_shared<std::string>();
  command->add_option("--from", *from, "folder to read")->required();
  command->add_option("--out", *out, "HDF5 file to write")->required();
  end_help(*command, fmt::format("data import {0} --from {0} --out {0}.h5", name));
  command->callback([from, out, import, &action] {
    action = [from, out, import] {
      require_writable(*out, "--out");
      import(*from, *out);
      print_info(*out, *Dataset::open(*out, Verify::never));
      return ExitCode::done;
    };
  });
}

void add_render_argmax(CLI::App& render, Action& action) {
  struct Arguments {
    ArgmaxSizes sizes;
    std::string out;
  };
  const auto arguments = std::make_shared<Arguments>();
  auto* argmax = render.add_subcommand("argmax", "Features labelled by a hidden linear map (the paper's example 01)");
  auto& sizes = arguments->sizes;
  argmax->add_option("--train", sizes.train, "training samples")->transform(integer_between(1, 100'000'000));
  argmax->add_option("--test", sizes.test, "test samples")->transform(integer_between(1, 100'000'000));
  argmax->add_option("--features", sizes.features, "features of a sample")->transform(integer_between(1, 100'000));
  argmax->add_option("--classes", sizes.classes, "classes")->transform(integer_between(2, 1'000));
  argmax->add_option("--out", arguments->out, "HDF5 file to write")->required();
  end_help(*argmax, "data render argmax --out argmax.h5");
  argmax->callback([arguments, &action] {
    action = [arguments] {
      require_writable(arguments->out, "--out");
      render_argmax(arguments->sizes, arguments->out);
      print_info(arguments->out, *Dataset::open(arguments->out, Verify::never));
      return ExitCode::done;
    };
  });
}

void add_render(CLI::App& data, Action& action) {
  auto* render = data.add_subcommand("render", "Make a synthetic data set")->require_subcommand(1);
  end_help(*render, "data render glyphs --out glyphs.h5");
  struct Arguments {
    std::int64_t train = 4096, test = 1024;
    std::string out;
  };
  const auto arguments = std::make_shared<Arguments>();
  auto* glyphs = render->add_subcommand("glyphs", "The built-in digits, any number of them");
  glyphs->add_option("--train", arguments->train, "training images")->transform(integer_between(1, 100'000'000));
  glyphs->add_option("--test", arguments->test, "test images")->transform(integer_between(1, 100'000'000));
  glyphs->add_option("--out", arguments->out, "HDF5 file to write")->required();
  end_help(*glyphs, "data render glyphs --train 10000 --test 2000 --out glyphs.h5");
  glyphs->callback([arguments, &action] {
    action = [arguments] {
      require_writable(arguments->out, "--out");
      render_glyphs(arguments->train, arguments->test, arguments->out);
      print_info(arguments->out, *Dataset::open(arguments->out, Verify::never));
      return ExitCode::done;
    };
  });
  add_render_argmax(*render, action);
}

void add_info(CLI::App& data, Action& action) {
  struct Arguments {
    std::string file, sheet;
    bool verify = false;
  };
  const auto arguments = std::make_shared<Arguments>();
  auto* info = data.add_subcommand("info", "Show shape, classes, statistics and digest of a data set");
  info->add_option("FILE", arguments->file, "HDF5 file, or builtin:glyphs")->required();
  auto* sheet =
      info->add_option("--sheet", arguments->sheet, "write a contact sheet (PNG) of the first images of each class");
  info->add_flag("--verify", arguments->verify, "compute the digest anew and compare");
  end_help(*info, "data info mnist.h5 --sheet mnist.png");
  info->callback([arguments, sheet, &action] {
    action = [arguments, sheet] {
      if (sheet->count() > 0) require_writable(arguments->sheet, "--sheet");
      const auto dataset = Dataset::open(arguments->file, arguments->verify ? Verify::always : Verify::never);
      print_info(arguments->file, *dataset);
      if (arguments->verify) fmt::print("verified      the digest is that of the content\n");
      if (sheet->count() > 0) contact_sheet_png(*dataset, arguments->sheet);
      return ExitCode::done;
    };
  });
}

}  // namespace

void add_data(CLI::App& app, Action& action) {
  auto* data = add_command(app, "data")->require_subcommand(1);
  end_help(*data, "data info builtin:glyphs");
  auto* import = data->add_subcommand("import", "Make a data set from published files")->require_subcommand(1);
  end_help(*import, "data import mnist --from mnist --out mnist.h5");
  add_import(*import, "mnist", "IDX files, plain or .gz (MNIST, Fashion-MNIST)", import_mnist, action);
  add_import(*import, "cifar10", "CIFAR-10 binary batches", import_cifar10, action);
  add_import(*import, "folder", "train/<class>/ and test/<class>/ of JPEG or PNG images", import_folder, action);
  add_render(*data, action);
  add_info(*data, action);
}

}  // namespace spankey::cli
