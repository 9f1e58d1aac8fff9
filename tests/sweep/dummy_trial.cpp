// A trial of 0.05 s for the tests of the executors: dummy_trial COMPLETIONS RUN_DIRECTORY HASH [EXIT_CODE]
// Like a training run it shows progress (a checkpoint file), commits at one moment (a line of COMPLETIONS), leaves a
// result, and started again after that moment does nothing. With EXIT_CODE it ends with that instead of committing.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

namespace {

bool has_line(const std::string& path, const std::string& wanted) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line == wanted) return true;
  return false;
}

void show_progress(const std::filesystem::path& run) {
  const auto folder = run / "checkpoints";
  std::filesystem::create_directories(folder);
  int step = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder)) ++step;
  char name[32];
  std::snprintf(name, sizeof name, "step_%08d.h5", step + 1);
  std::ofstream(folder / name) << "progress";
}

void append_line(const std::string& path, const std::string& line) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  const auto text = line + "\n";
  if (file < 0 || write(file, text.data(), text.size()) != static_cast<ssize_t>(text.size())) std::_Exit(3);
  close(file);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const std::string completions = argv[1], hash = argv[3];
  const std::filesystem::path run = argv[2];
  if (!has_line(completions, hash)) {
    show_progress(run);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    if (argc > 4) return std::atoi(argv[4]);
    append_line(completions, hash);
  }
  const auto result = run / "result.json", aside = run / "result.json.new";
  std::ofstream(aside) << "{\"config_hash\": \"" << hash << "\"}\n";
  std::filesystem::rename(aside, result);
}
