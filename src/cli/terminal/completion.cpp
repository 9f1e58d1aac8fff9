#include "cli/terminal/completion.h"

#include <fmt/ranges.h>

#include <array>

#include "base/version.h"
#include "config/entries.h"
#include "config/names.h"

namespace spankey::cli {
namespace {

// A command such as "sweep run" with the words that may follow it.
struct CommandWords {
  std::string path;                // empty for the program itself
  std::vector<std::string> words;  // its sub-commands, then its options
  bool takes_keys = false;         // settings such as key.gamma=1.0 may follow
  bool takes_command = false;      // a sub-command follows, and no file
};

void collect(const CLI::App& app, const std::string& path, std::vector<CommandWords>& found) {
  const auto below = app.get_subcommands([](const CLI::App*) { return true; });
  CommandWords command{.path = path, .words = {}, .takes_command = !below.empty()};
  for (const auto* sub : below) command.words.push_back(sub->get_name());
  for (const auto* option : app.get_options([](const CLI::Option*) { return true; })) {
    for (const auto& name : option->get_lnames()) command.words.push_back("--" + name);
    command.takes_keys |= option->get_single_name() == "OVERRIDES";
  }
  found.push_back(std::move(command));
  for (const auto* sub : below) collect(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), found);
}

// The program and all its commands, each behind the one it belongs to.
std::vector<CommandWords> command_words(const CLI::App& app) {
  std::vector<CommandWords> found;
  collect(app, "", found);
  return found;
}

// The words that may stand behind "key=", which the accepted text has in quotes.
std::vector<std::string> values_of(const Entry& entry) {
  std::vector<std::string> values;
  for (auto begin = entry.accepted.find('"'); begin != std::string::npos;) {
    const auto end = entry.accepted.find('"', begin + 1);
    if (end == std::string::npos) break;
    values.push_back(entry.accepted.substr(begin + 1, end - begin - 1));
    begin = entry.accepted.find('"', end + 1);
  }
  if (entry.accepted == "true or false") values = {"true", "false"};
  return values;
}

// The lines of a shell's `case` that set `words` for each command, and for each key that takes names.
std::string case_lines(const std::vector<CommandWords>& commands) {
  std::string text;
  for (const auto& command : commands)
    text += fmt::format("    '{}') found='{}'{}{} ;;\n", command.path, fmt::join(command.words, " "),
                        command.takes_keys ? " keys=1" : "", command.takes_command ? " files=0" : "");
  return text;
}

std::string value_lines() {
  std::string text;
  for (const auto& entry : entries(Config{}))
    if (const auto values = values_of(entry); !values.empty())
      text += fmt::format("    '{}') found='{}' ;;\n", entry.key, fmt::join(values, " "));
  return text;
}

std::string key_list() {
  std::string text;
  for (const auto& entry : entries(Config{})) text += (text.empty() ? "" : " ") + entry.key + "=";
  return text;
}

std::string paths_pattern(const std::vector<CommandWords>& commands) {
  std::string text;
  for (const auto& command : commands)
    if (!command.path.empty()) text += fmt::format("{}'{}'", text.empty() ? "" : "|", command.path);
  return text;
}

// The functions that bash and zsh share: both have case, local and word lists.
std::string shared_functions(const std::vector<CommandWords>& commands) {
  return fmt::format(
      R"(# The words that may follow a command, in `found`. `keys` is 1 where settings may follow as well, `files` 0 where no file may.
_spankey_words() {{
  case "$1" in
{}  esac
}}
# The names that a key may have, in `found`.
_spankey_values() {{
  case "$1" in
{}  esac
}}
# The command that the words before the cursor make, in `place`.
_spankey_path() {{
  local word
  for word in "$@"; do
    case "$place${{place:+ }}$word" in
      {}) place="$place${{place:+ }}$word" ;;
    esac
  done
}}
_spankey_keys='{}'
)",
      case_lines(commands), value_lines(), paths_pattern(commands), key_list());
}

constexpr const char* bash_function = R"(_spankey() {
  local current="${COMP_WORDS[COMP_CWORD]}" place='' found='' keys=0 files=1 key=''
  # bash takes the sign = for a word of its own.
  if [[ "$current" == '=' ]]; then
    key="${COMP_WORDS[COMP_CWORD - 1]}" current=''
  elif ((COMP_CWORD > 2)) && [[ "${COMP_WORDS[COMP_CWORD - 1]}" == '=' ]]; then
    key="${COMP_WORDS[COMP_CWORD - 2]}"
  fi
  if [[ -n "$key" ]]; then
    _spankey_values "$key"
    mapfile -t COMPREPLY < <(compgen -W "$found" -- "$current")
    return
  fi
  _spankey_path "${COMP_WORDS[@]:1:COMP_CWORD-1}"
  _spankey_words "$place"
  mapfile -t COMPREPLY < <(compgen -W "$found" -- "$current")
  if ((keys)) && [[ -n "$current" && "$current" != -* ]]; then
    mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$_spankey_keys" -- "$current")
    [[ "${COMPREPLY[0]-}" == *= ]] && compopt -o nospace
  fi
  ((files)) || compopt +o default
}
complete -o default -F _spankey spankey
)";

constexpr const char* zsh_function = R"(_spankey() {
  local place='' words_before=("${words[@]:1:$((CURRENT - 2))}") current="${words[CURRENT]}" keys=0 files=1
  local -a reply_words
  local line="$current"
  () {
    local found=''
    if [[ "$line" == *.*=* ]]; then
      _spankey_values "${line%%=*}"
      if [[ -n "$found" ]]; then reply_words=("${line%%=*}="${=^found}) files=0; else compset -P '*='; fi
    else
      _spankey_path "${words_before[@]}"
      _spankey_words "$place"
      reply_words=(${=found})
    fi
  }
  compadd -- "${reply_words[@]}"
  ((keys)) && compadd -S '' -- ${=_spankey_keys}
  ((files)) && _files
}
# As a file of fpath this text is the function itself, the first time.
if [[ "${funcstack[1]-}" == _spankey ]]; then _spankey "$@"; else compdef _spankey spankey; fi
)";

std::string fish_script(const std::vector<CommandWords>& commands) {
  std::string text = R"(function __spankey_at
    set -l path
    for word in (commandline -opc)[2..]
        contains -- (string join ' ' $path $word) $__spankey_paths; and set path $path $word
    end
    set -l joined (string join ' ' -- $path)
    test "$joined" = "$argv[1]"
end
)";
  text += "set -g __spankey_paths";
  for (const auto& command : commands)
    if (!command.path.empty()) text += fmt::format(" '{}'", command.path);
  text += "\n";
  for (const auto& command : commands) {
    text += fmt::format("complete -c spankey -n \"__spankey_at '{}'\" -a '{}'\n", command.path,
                        fmt::join(command.words, " "));
    if (command.takes_command) text += fmt::format("complete -c spankey -n \"__spankey_at '{}'\" -f\n", command.path);
    if (!command.takes_keys) continue;
    text += fmt::format("complete -c spankey -n \"__spankey_at '{}'\" -a '{}'\n", command.path, key_list());
    for (const auto& entry : entries(Config{}))
      for (const auto& value : values_of(entry))
        text +=
            fmt::format("complete -c spankey -n \"__spankey_at '{}'\" -a '{}={}'\n", command.path, entry.key, value);
  }
  return text;
}

// A line of text in roff, in which a dot or a quote at the beginning is a command.
std::string roff_line(const std::string& line) {
  std::string text;
  for (const char c : line) text += c == '\\' ? std::string("\\e") : c == '-' ? std::string("\\-") : std::string(1, c);
  return line.starts_with('.') || line.starts_with('\'') ? "\\&" + text : text;
}

void add_help(const CLI::App& app, const std::string& path, std::string& text) {
  const auto name = path.empty() ? std::string("spankey") : "spankey " + path;
  text += fmt::format(".SS \"{}\"\n.nf\n", name);
  // App::help() of the program would be that of the command which prints the manual.
  const auto help = app.get_formatter()->make_help(&app, name, CLI::AppFormatMode::Normal);
  for (std::size_t begin = 0; begin < help.size();) {
    const auto end = std::min(help.find('\n', begin), help.size());
    text += roff_line(help.substr(begin, end - begin)) + "\n";
    begin = end + 1;
  }
  text += ".fi\n";
  for (const auto* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    add_help(*sub, path.empty() ? sub->get_name() : path + " " + sub->get_name(), text);
}

}  // namespace

std::string completion_script(const CLI::App& app, std::string_view shell) {
  constexpr std::array<std::string_view, 3> shells{"bash", "zsh", "fish"};
  const auto commands = command_words(app);
  if (same_name(shell, "fish")) return fish_script(commands);
  if (same_name(shell, "bash")) return shared_functions(commands) + bash_function;
  if (same_name(shell, "zsh")) return "#compdef spankey\n" + shared_functions(commands) + zsh_function;
  fail_unknown_name("SHELL", shell, shells);
}

std::string manual_page(const CLI::App& app) {
  auto text = fmt::format(
      ".TH SPANKEY 1 \"\" \"spankey {}\" \"User commands\"\n.SH NAME\nspankey \\- {}\n.SH SYNOPSIS\n"
      ".B spankey\nCOMMAND [OPTIONS]\n.SH COMMANDS\n",
      program_version(), roff_line(app.get_description()));
  add_help(app, "", text);
  return text;
}

}  // namespace spankey::cli
