#include "support/program.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <thread>

namespace spankey::test {
namespace {

std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  if (!value) throw std::runtime_error(std::string(name) + " is not set: start the test through ctest");
  return value;
}

}  // namespace

Child::Child(const std::vector<std::string>& command, const std::filesystem::path& working_directory) {
  static int counter = 0;
  const auto stem = ".child-" + std::to_string(getpid()) + "-" + std::to_string(counter++);
  out_ = working_directory / (stem + ".out");
  err_ = working_directory / (stem + ".err");
  std::vector<char*> arguments;
  for (const auto& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_ = fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ == 0) {
    const int in = open("/dev/null", O_RDONLY);
    const int out = open(out_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err = open(err_.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(in, 0);
    dup2(out, 1);
    dup2(err, 2);
    if (chdir(working_directory.c_str()) == 0) execvp(arguments[0], arguments.data());
    _exit(127);
  }
}

Child::~Child() {
  if (reaped_) return;
  kill_tree();
  waitpid(pid_, nullptr, 0);
}

void Child::reap(int status) {
  reaped_ = true;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool Child::running() {
  int status = 0;
  if (!reaped_ && waitpid(pid_, &status, WNOHANG) == pid_) reap(status);
  return !reaped_;
}

void Child::signal(int number) {
  if (running()) kill(pid_, number);
}

// mpirun puts its ranks into process groups of their own, so a signal to the group would miss them.
void Child::kill_tree() {
  std::vector<pid_t> tree{pid_};
  for (std::size_t i = 0; i < tree.size(); ++i) {
    const auto children = children_of(tree[i]);
    tree.insert(tree.end(), children.begin(), children.end());
  }
  for (const pid_t pid : tree) kill(pid, SIGKILL);
}

Outcome Child::wait(std::chrono::seconds limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (running() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  Outcome outcome;
  if (running()) {
    outcome.timed_out = true;
    kill_tree();
    int status = 0;
    waitpid(pid_, &status, 0);
    reap(status);
  }
  outcome.exit_code = exit_code_;
  outcome.out = contents(out_);
  outcome.err = contents(err_);
  return outcome;
}

Outcome run(const std::vector<std::string>& command, const std::filesystem::path& working_directory,
            std::chrono::seconds limit) {
  Child child(command, working_directory);
  return child.wait(limit);
}

char state_of(const std::filesystem::path& folder) {
  const auto line = contents(folder / "stat");
  const auto name_end = line.rfind(')');  // the name may hold anything
  return name_end == std::string::npos ? char{0} : line.at(name_end + 2);
}

std::vector<pid_t> children_of(pid_t pid) {
  const auto id = std::to_string(pid);
  std::istringstream list(contents("/proc/" + id + "/task/" + id + "/children"));
  std::vector<pid_t> children;
  for (pid_t child = 0; list >> child;) children.push_back(child);
  return children;
}

std::string program() {
  return environment("SPANKEY_PROGRAM");
}

std::filesystem::path source(const std::string& relative) {
  return std::filesystem::path(environment("SPANKEY_SOURCE_DIR")) / relative;
}

std::vector<std::string> on_ranks(int ranks, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), program());
  if (ranks == 1) return arguments;
  std::vector<std::string> command{"mpirun", "-np", std::to_string(ranks), "--bind-to", "none"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

}  // namespace spankey::test
