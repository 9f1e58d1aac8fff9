// Asks a network about images: embed MODEL.skm [USER.skk] <PIXELS
//
// PIXELS are images as the network takes them, (C, H, W) bytes one after the other. Each gets one line.
#include <spankey/runtime.h>

#include <cstdio>
#include <iostream>
#include <iterator>
#include <vector>

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) {
    std::fprintf(stderr, "usage: embed MODEL.skm [USER.skk] <PIXELS\n");
    return 2;
  }
  try {
    auto model = spankey::runtime::Model::open(argv[1]);
    if (argc == 3) std::fprintf(stderr, "key of %s\n", model.use_key(argv[2]).name.c_str());

    std::size_t size = 1;
    for (const auto extent : model.info().sample_shape) size *= static_cast<std::size_t>(extent);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(std::cin), {}};
    const std::vector<std::uint8_t> pixels(bytes.begin(), bytes.end());
    const auto answers = model.answer(pixels, pixels.size() / size);

    for (std::size_t i = 0; i < answers.rejected.size(); ++i)
      std::printf("%s\n", answers.rejected[i] ? "reject" : model.info().classes[answers.best_class(i)].c_str());
    return 0;
  } catch (const spankey::runtime::Error& error) {
    std::fprintf(stderr, "embed: %s\n", error.what());
    return 2;
  }
}
