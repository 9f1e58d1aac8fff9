// A command that has a pseudo-terminal of its own, as a person sees it.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

namespace spankey::test {

class OnTerminal {
 public:
  // Starts `command` in `folder`. Its standard streams are a terminal of `columns` by 24 characters. TERM is xterm,
  // NO_COLOR and COLUMNS are not set, unless `variables` ("NAME=value") say otherwise.
  OnTerminal(const std::vector<std::string>& command, const std::filesystem::path& folder, int columns = 80,
             const std::vector<std::string>& variables = {});
  ~OnTerminal();
  OnTerminal(const OnTerminal&) = delete;
  OnTerminal& operator=(const OnTerminal&) = delete;

  // Reads until what was said has `text`. Returns false where the command ends before, or says nothing for a minute.
  bool read_until(const std::string& text);
  // Reads until the command ends. Returns everything that was said.
  const std::string& read_all();
  // Reads until the command ends. A signal counts as 128 and its number, as in a shell.
  int exit_code();

  void type(const std::string& keys) const;
  void press_interrupt() const { type("\003"); }
  void resize(int columns) const;
  // True where the terminal shows what is typed.
  bool echoes() const;

  std::string said;  // what has been read so far

 private:
  bool read_some();

  pid_t pid_ = -1;
  int master_ = -1;
};

}  // namespace spankey::test
