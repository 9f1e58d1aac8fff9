// The main function of every test program:
//
//   test_<folder> [FILE...] [GoogleTest's options]      FILE: a source file without folder and .cpp, such as deny_test
//
// Runs the tests of the files named, or all of them. Under mpiexec (SPANKEY_TEST_MPI) it starts MPI and brings the
// failures of every rank to rank 0. A run in which no test was executed fails (a mistyped name or filter must not
// pass); one in which all were skipped says so to ctest.
#include <gtest/gtest.h>
#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace {

constexpr int exit_skipped = 77;  // ctest's SKIP_RETURN_CODE (cmake/SpankeyTest.cmake)

class FailureCollector : public testing::EmptyTestEventListener {
 public:
  std::string failures;

 private:
  void OnTestStart(const testing::TestInfo& test) override {
    // Asking UnitTest for it below would wait for the lock under which results are reported.
    test_ = std::string(test.test_suite_name()) + "." + test.name();
  }
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    failures += test_ + ": " + (result.file_name() ? result.file_name() : "?") + ":" +
                std::to_string(result.line_number()) + "\n" + result.summary() + "\n";
  }
  std::string test_ = "outside a test";
};

int executed_tests() {
  const auto& unit = *testing::UnitTest::GetInstance();
  return unit.successful_test_count() + unit.failed_test_count();
}

// Narrows GoogleTest's filter to the tests of these files; false where a file has none.
bool keep_tests_of(const std::vector<std::string>& files) {
  std::set<std::string> missing(files.begin(), files.end());
  std::string& filter = testing::GTEST_FLAG(filter);
  const bool all = filter == "*";  // then few words say it, which GoogleTest prints
  std::string wanted, unwanted;
  const auto& unit = *testing::UnitTest::GetInstance();
  for (int i = 0; i < unit.total_test_suite_count(); ++i) {
    const auto& suite = *unit.GetTestSuite(i);
    std::string others;
    bool here = false;
    for (int k = 0; k < suite.total_test_count(); ++k) {
      const auto& test = *suite.GetTestInfo(k);
      const auto file = std::filesystem::path(test.file()).stem().string();
      missing.erase(file);
      if (std::find(files.begin(), files.end(), file) != files.end())
        here = true;
      else
        others.append(":").append(suite.name()).append(".").append(test.name());
    }
    if (here) wanted.append(":").append(suite.name()).append(".*");
    if (here || !all) unwanted += others;
  }
  if (all) filter = wanted;
  if (!unwanted.empty() && filter.find('-') == std::string::npos) filter += '-';
  filter += unwanted;
  for (const auto& file : missing) std::fprintf(stderr, "no test in a file %s.cpp\n", file.c_str());
  return missing.empty();
}

// Prints every rank's failures on rank 0; returns true where any rank failed.
bool report_all_ranks(const std::string& mine) {
  int rank = 0, size = 1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  const int length = static_cast<int>(mine.size());
  std::vector<int> lengths(static_cast<std::size_t>(size)), offsets(static_cast<std::size_t>(size));
  MPI_Allgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, MPI_COMM_WORLD);
  int total = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    offsets[i] = total;
    total += lengths[i];
  }
  std::string all(static_cast<std::size_t>(total), '\0');
  MPI_Gatherv(mine.data(), length, MPI_CHAR, all.data(), lengths.data(), offsets.data(), MPI_CHAR, 0, MPI_COMM_WORLD);
  if (rank == 0)
    for (std::size_t i = 0; i < lengths.size(); ++i)
      if (lengths[i] > 0)
        std::printf("---- failures of rank %zu\n%s", i,
                    all.substr(static_cast<std::size_t>(offsets[i]), static_cast<std::size_t>(lengths[i])).c_str());
  return total > 0;
}

}  // namespace

int main(int argc, char** argv) {
  const bool under_mpi = std::getenv("SPANKEY_TEST_MPI") != nullptr;
  if (under_mpi) {
    int provided = 0;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
  }
  testing::InitGoogleTest(&argc, argv);  // takes its own options away
  if (argc > 1 && !keep_tests_of({argv + 1, argv + argc})) return 1;
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  auto* collector = new FailureCollector;  // owned by GoogleTest
  listeners.Append(collector);
  int rank = 0;
  if (under_mpi) MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (rank != 0) delete listeners.Release(listeners.default_result_printer());

  int result = RUN_ALL_TESTS();
  if (result == 0 && !testing::GTEST_FLAG(list_tests) && executed_tests() == 0) {
    const bool skipped = testing::UnitTest::GetInstance()->skipped_test_count() > 0;
    std::fprintf(stderr, skipped ? "every test was SKIPPED\n" : "no test was executed\n");
    result = skipped ? exit_skipped : 1;
  }
  if (under_mpi) {
    result = std::max(result, report_all_ranks(collector->failures) ? 1 : 0);
    MPI_Finalize();
  }
  return result;
}
