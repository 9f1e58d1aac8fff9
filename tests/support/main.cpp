// The main function of every test executable. Alone it is GoogleTest's; under mpiexec (SPANKEY_TEST_MPI) it starts MPI
// and brings the failures of every rank to rank 0. A run in which no test was executed fails (a mistyped filter must
// not pass); one in which all were skipped says so to ctest.
#include <gtest/gtest.h>
#include <mpi.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
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
  testing::InitGoogleTest(&argc, argv);
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
