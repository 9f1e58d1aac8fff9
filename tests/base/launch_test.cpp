#include "base/launch.h"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <thread>

#include "base/process.h"
#include "support/temporary_folder.h"

namespace spankey::launch_test {
namespace {

using Environment = std::map<std::string, std::string>;

EnvironmentVariable variables(const Environment& environment) {
  return [environment](const char* name) -> const char* {
    const auto found = environment.find(name);
    return found == environment.end() ? nullptr : found->second.c_str();
  };
}

void expect(const Environment& environment, int rank, int size, const std::string& origin) {
  const auto launch = read_launch(variables(environment));
  EXPECT_EQ(launch.rank, rank) << origin;
  EXPECT_EQ(launch.size, size) << origin;
  EXPECT_EQ(launch.origin, origin);
}

TEST(Launch, EachLauncherIsUnderstood) {
  expect({}, 0, 1, "");
  expect({{"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_RANK", "3"}}, 3, 4, "OMPI_COMM_WORLD_SIZE = 4");
  expect({{"PMI_SIZE", "4"}, {"PMI_RANK", "2"}}, 2, 4, "PMI_SIZE = 4");
  expect({{"PMIX_RANK", "2"}}, 2, 3, "PMIX_RANK = 2");
  expect({{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "1"}}, 1, 2,
         "SLURM_STEP_NUM_TASKS = 2");
}

TEST(Launch, OneProcessIsAloneHoweverItWasStarted) {
  expect({{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}}, 0, 1, "OMPI_COMM_WORLD_SIZE = 1");
  expect({{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_PROCID", "0"}}, 0, 1, "");
}

// A batch script, the shell of salloc, or a shell that has outlived its job.
TEST(Launch, SlurmsRankOutsideOfAStepIsNotBelieved) {
  expect({{"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "4"}}, 0, 1, "");
  expect({{"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "4"}, {"SLURM_STEP_NUM_TASKS", "4"}}, 0, 1, "");
}

TEST(Launch, TheLauncherOfSeveralCountsBesideOneOfOne) {
  Environment step{{"SLURM_STEP_ID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}, {"SLURM_PROCID", "1"}};
  step.insert({{"OMPI_COMM_WORLD_SIZE", "1"}, {"OMPI_COMM_WORLD_RANK", "0"}});
  expect(step, 1, 2, "SLURM_STEP_NUM_TASKS = 2");
  expect({{"SLURM_STEP_ID", "0"},
          {"SLURM_STEP_NUM_TASKS", "1"},
          {"SLURM_PROCID", "0"},
          {"PMI_SIZE", "3"},
          {"PMI_RANK", "2"}},
         2, 3, "PMI_SIZE = 3");
}

// First lines that the programs print.
TEST(Mpirun, IsKnownByItsVersion) {
  EXPECT_EQ(mpirun_of("mpirun (Open MPI) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/\n"),
            Mpirun::open_mpi);
  EXPECT_EQ(mpirun_of("mpirun (Open MPI) 5.0.7\n"), Mpirun::open_mpi);
  EXPECT_EQ(mpirun_of("HYDRA build details:\n    Version:                                 4.2.0\n"), Mpirun::hydra);
  EXPECT_EQ(mpirun_of("Intel(R) MPI Library for Linux* OS, Version 2021.12 Build 20240213\n"), Mpirun::hydra);
  EXPECT_EQ(mpirun_of(""), Mpirun::open_mpi);
}

TEST(Mpirun, OnlyOpenMpiKnowsItsOwnOptions) {
  EXPECT_EQ(mpirun_words(Mpirun::hydra, 3), (std::vector<std::string>{"mpirun", "-np", "3"}));
  EXPECT_EQ(mpirun_words(Mpirun::open_mpi, 2), (std::vector<std::string>{"mpirun", "-np", "2", "--bind-to", "none"}));
}

// A shell stands in for mpirun, and another one under Hydra's name for its proxy.
TEST(Mpirun, BelowHydraARankHearsOfTheStop) {
  const test::TemporaryFolder folder;
  const auto proxy = folder / "hydra_pmi_proxy";
  std::filesystem::copy_file("/bin/sh", proxy);
  const auto mpirun =
      start_process({.command = {"sh", "-c", proxy.string() + " -c 'sleep 30; :'; :"}, .own_group = true});
  pid_t found = mpirun;
  for (int i = 0; i < 200 && found == mpirun; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    found = takes_stop_request(Mpirun::hydra, mpirun);
  }
  const auto facts = look_up_process(found);
  EXPECT_TRUE(facts && facts->name == "sleep") << (facts ? facts->name : "none");
  EXPECT_EQ(takes_stop_request(Mpirun::open_mpi, mpirun), mpirun);
  kill(-mpirun, SIGKILL);
  waitpid(mpirun, nullptr, 0);
}

TEST(Launch, WhatIsNoNumberIsNoLaunch) {
  for (const char* text : {"", "x", "-1", "4x", " 4", "99999999999999999999"})
    expect({{"OMPI_COMM_WORLD_SIZE", text}, {"OMPI_COMM_WORLD_RANK", text}}, 0, 1, "");
}

TEST(Launch, TasksOfAJobThatNobodyStartsAreUnused) {
  const Environment batch{{"SLURM_JOB_ID", "1"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}};
  EXPECT_EQ(unused_tasks(variables(batch)), 2);
  auto under_mpirun = batch;
  under_mpirun.insert({"OMPI_COMM_WORLD_SIZE", "1"});
  EXPECT_EQ(unused_tasks(variables(under_mpirun)), std::nullopt);
  EXPECT_EQ(unused_tasks(variables({{"SLURM_JOB_ID", "1"}, {"SLURM_NTASKS", "1"}})), std::nullopt);
  EXPECT_EQ(unused_tasks(variables({{"SLURM_NTASKS", "2"}})), std::nullopt);
}

}  // namespace
}  // namespace spankey::launch_test
