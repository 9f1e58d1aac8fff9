#include "base/shutdown.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

namespace spankey::shutdown_test {
namespace {

class Shutdown : public testing::Test {
 protected:
  void SetUp() override {
    shutdown::install_handlers();
    shutdown::clear();
  }
  void TearDown() override { shutdown::clear(); }
};

// Another process sends the signal, as a scheduler does.
void send_from_outside(int signal) {
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) _exit(kill(parent, signal) == 0 ? 0 : 1);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!shutdown::requested() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST_F(Shutdown, EachSignalSetsTheFlag) {
  for (const int signal : {SIGTERM, SIGINT, SIGUSR2, SIGUSR1, SIGXCPU}) {
    shutdown::clear();
    ASSERT_FALSE(shutdown::requested());
    send_from_outside(signal);
    EXPECT_TRUE(shutdown::requested());
    EXPECT_EQ(shutdown::signal_number(), signal);
  }
}

TEST_F(Shutdown, TheFirstSignalIsRemembered) {
  raise(SIGUSR2);
  raise(SIGTERM);
  EXPECT_EQ(shutdown::signal_number(), SIGUSR2);
}

TEST_F(Shutdown, RequestCountsAsSigusr2) {
  EXPECT_EQ(shutdown::signal_number(), 0);
  shutdown::request();
  EXPECT_EQ(shutdown::signal_number(), SIGUSR2);
}

TEST_F(Shutdown, InstallingAgainWinsOverAnotherHandler) {
  std::signal(SIGTERM, SIG_IGN);
  raise(SIGTERM);
  EXPECT_FALSE(shutdown::requested());
  shutdown::install_handlers();
  raise(SIGTERM);
  EXPECT_TRUE(shutdown::requested());
}

TEST_F(Shutdown, AWriteThatCannotSucceedReturns) {
  std::signal(SIGPIPE, SIG_DFL);
  shutdown::install_handlers();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  close(ends[0]);
  EXPECT_EQ(write(ends[1], "x", 1), -1);
  EXPECT_EQ(errno, EPIPE);
  close(ends[1]);
  EXPECT_FALSE(shutdown::requested());
}

}  // namespace
}  // namespace spankey::shutdown_test
