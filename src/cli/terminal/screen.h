// Standard output as a place for a text that is written over again and again, or else as a plain file.
#pragma once

#include <cstddef>
#include <string>

namespace spankey::cli {

struct ScreenSize {
  std::size_t width = 0, height = 0;  // in characters, height 0: no limit
  bool operator==(const ScreenSize&) const = default;
};

// Only cursor movements are used. The screen is neither switched nor put into a mode, so that whatever ends the program
// leaves a usable terminal with the last text on it.
class Screen {
 public:
  Screen();

  // True where a text can be written over: standard output is a terminal, and TERM is neither missing nor "dumb".
  bool redraws() const { return redraws_; }
  // True unless NO_COLOR is set or nothing can be written over.
  bool has_colours() const;
  // Of the terminal, or else of COLUMNS. Without either any width will do.
  ScreenSize size() const;

  // Writes a text that was made for a terminal of `size`, over the one before it. Returns false where nobody reads any
  // more.
  bool draw(const std::string& text, ScreenSize size);

 private:
  bool redraws_;
  ScreenSize drawn_size_;
  std::size_t drawn_lines_ = 0;
};

// True where the locale of this process asks for UTF-8.
bool speaks_utf8();

}  // namespace spankey::cli
