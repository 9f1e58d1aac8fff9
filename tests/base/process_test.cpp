#include "base/process.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <thread>

#include "base/descriptor.h"
#include "base/file.h"
#include "base/shutdown.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace spankey::process_test {
namespace {

using testing::HasSubstr;

int exit_code_of(pid_t process) {
  int status = 0;
  EXPECT_EQ(waitpid(process, &status, 0), process);
  return exit_code_of_status(status);
}

// What a shell prints that is started with these options.
std::string output_of(ProcessStart start, const std::string& commands) {
  const test::TemporaryFolder folder;
  const Descriptor file(open((folder / "out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  start.command = {"sh", "-c", commands};
  start.output = file.get();
  EXPECT_EQ(exit_code_of(start_process(start)), 0);
  return read_text(folder / "out");
}

std::string field_of(const std::string& status, const std::string& name) {
  const auto begin = status.find(name + ":\t");
  if (begin == std::string::npos) return "";
  const auto value = begin + name.size() + 2;
  return status.substr(value, status.find('\n', value) - value);
}

TEST(Process, EndsWithItsCodeOrASignal) {
  EXPECT_EQ(exit_code_of(start_process({.command = {"sh", "-c", "exit 5"}})), 5);
  EXPECT_EQ(exit_code_of(start_process({.command = {"sh", "-c", "kill -9 $$"}})), 137);
}

TEST(Process, AnAbsentProgramEndsAsInAShell) {
  EXPECT_EQ(exit_code_of(start_process({.command = {"no-such-program"}})), exit_no_such_program);
}

TEST(Process, WhatCannotBeStartedIsAnErrorAndLeavesNothingBehind) {
  EXPECT_ERROR(start_process({.command = {"/dev/null"}}), ExitCode::bad_input,
               HasSubstr("/dev/null cannot be started: Permission denied"));
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(Process, TheEnvironmentIsItsOwnOrOurs) {
  ASSERT_EQ(setenv("SPANKEY_TEST_WORD", "ours", 1), 0);
  constexpr const char* show = "echo \"$SPANKEY_TEST_WORD$OTHER\"";
  EXPECT_EQ(output_of({}, show), "ours\n");
  std::vector<std::string> environment{"PATH=/usr/bin:/bin", "OTHER=its"};
  std::string expected = "its\n";
  for (int i = 0; i < 50; ++i) {
    const auto variable = "VARIABLE_" + std::to_string(i) + "=" + std::string(100, 'x');
    environment.push_back(variable);
    expected += variable + "\n";
  }
  EXPECT_EQ(output_of({.environment = environment}, std::string(show) + "; env | grep ^VARIABLE | sort -t_ -k2n"),
            expected);
  unsetenv("SPANKEY_TEST_WORD");
}

TEST(Process, CoresPriorityAndGroupAreThoseAskedFor) {
  cpu_set_t ours;
  ASSERT_EQ(sched_getaffinity(0, sizeof ours, &ours), 0);
  int last = 0;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &ours)) last = core;
  // stat: pid (name) state ppid pgrp ...; nice is field 19.
  constexpr const char* show = "cat /proc/self/status; echo; set -- $(cat /proc/$$/stat); echo $1 $5 ${19}";
  const auto own = output_of({.cores = {last}, .nice = 3, .own_group = true}, show);
  EXPECT_EQ(field_of(own, "Cpus_allowed_list"), std::to_string(last));
  long pid = 0, group = 0, nice = 0;
  std::istringstream(own.substr(own.find("\n\n") + 2)) >> pid >> group >> nice;
  EXPECT_EQ(group, pid);
  EXPECT_EQ(nice, 3 + ::nice(0));
  const auto plain = output_of({}, show);  // the control
  std::istringstream(plain.substr(plain.find("\n\n") + 2)) >> pid >> group >> nice;
  EXPECT_EQ(group, getpgrp());
  EXPECT_EQ(nice, ::nice(0));
}

// Blocked and ignored signals would be inherited: only what this process began with is.
TEST(Process, SignalsAreAsAProgramExpectsThem) {
  shutdown::ignore_failed_writes();
  const auto status = output_of({}, "cat /proc/self/status");
  const auto ignored = std::stoull(field_of(status, "SigIgn"), nullptr, 16);
  EXPECT_EQ(ignored & (1ULL << (SIGPIPE - 1)), 0U);
  EXPECT_EQ(std::stoull(field_of(status, "SigBlk"), nullptr, 16), 0U);
  sigset_t now;
  pthread_sigmask(SIG_SETMASK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGTERM), 0) << "the mask of this thread is as it was";
}

TEST(Process, ItEndsWithTheThreadThatHasStartedIt) {
  for (const bool bound : {true, false}) {
    pid_t process = -1;
    std::thread([&] { process = start_process({.command = {"sleep", "60"}, .ends_with_thread = bound}); }).join();
    if (!bound) {
      EXPECT_EQ(waitpid(process, nullptr, WNOHANG), 0) << "the control lives on";
      kill(process, SIGTERM);
    }
    EXPECT_EQ(exit_code_of(process), 128 + (bound ? SIGKILL : SIGTERM));
  }
}

TEST(Process, FactsAreThoseOfTheSystem) {
  const auto own = look_up_process(getpid());
  ASSERT_TRUE(own);
  EXPECT_EQ(own->name, "test_base");
  EXPECT_EQ(own->parent, getppid());
  EXPECT_EQ(own->state, 'R');
  EXPECT_EQ(own->start_time, look_up_process(getpid())->start_time);
  EXPECT_FALSE(own->start_time.empty());
  EXPECT_EQ(program_path().filename(), "test_base");
}

// The name may hold brackets and blanks.
TEST(Process, ANameWithBracketsIsReadWhole) {
  const test::TemporaryFolder folder;
  const auto odd = folder / "a) S 1 (b";
  std::filesystem::copy_file("/bin/sleep", odd);
  const auto process = start_process({.command = {odd.string(), "60"}});
  const auto facts = look_up_process(process);
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->name, "a) S 1 (b");
  EXPECT_EQ(facts->parent, getpid());
  kill(process, SIGKILL);
  // What is left of it until its parent asks is seen as such, and then it is gone.
  siginfo_t info;
  ASSERT_EQ(waitid(P_PID, static_cast<id_t>(process), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(look_up_process(process)->state, 'Z');
  EXPECT_EQ(exit_code_of(process), 137);
  EXPECT_EQ(look_up_process(process), std::nullopt);
}

}  // namespace
}  // namespace spankey::process_test
