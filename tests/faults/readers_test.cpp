// Readers of files from elsewhere meet files that somebody has changed at will: each is read or refused with an Error,
// in bounded time and memory, and nothing crashes. Each batch of files is read in a process of its own.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>

#include "base/error.h"
#include "base/file.h"
#include "base/sealed_file.h"
#include "data/import.h"
#include "faults/budget.h"
#include "faults/savers.h"
#include "support/temporary_folder.h"

namespace spankey::test::readers_test {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint64_t batch = 50;
constexpr unsigned batch_seconds = 60;
constexpr rlim_t spare_memory = rlim_t{1} << 30;

std::uint64_t interesting(std::mt19937_64& random, std::size_t size) {
  const std::uint64_t values[] = {
      0, 1, ~0ULL, 1ULL << 31, 1ULL << 32, 1ULL << 63, size - 1, size, size + 1, 0x7fffffffffffffffULL, random()};
  return values[random() % std::size(values)];
}

void mutate_once(Bytes& bytes, std::mt19937_64& random) {
  if (bytes.size() < 16) return;
  const auto at = random() % (bytes.size() - 8);
  switch (random() % 8) {
    case 0:
    case 1:
      bytes[at] ^= std::byte(1U << (random() % 8));
      break;
    case 2:
      bytes[at] = static_cast<std::byte>(random());
      break;
    case 3:
    case 4: {
      const auto value = interesting(random, bytes.size());
      const std::size_t widths[] = {1, 2, 4, 8};
      std::memcpy(bytes.data() + at, &value, widths[random() % 4]);
      break;
    }
    case 5:
      bytes.resize(at);
      break;
    case 6: {  // a piece appears a second time somewhere else
      const auto to = random() % (bytes.size() - 8);
      const auto length = random() % std::min<std::size_t>(64, bytes.size() - std::max(at, to));
      std::memmove(bytes.data() + to, bytes.data() + at, length);
      break;
    }
    default: {
      const auto length = random() % std::min<std::size_t>(64, bytes.size() - at);
      bytes.erase(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                  bytes.begin() + static_cast<std::ptrdiff_t>(at + length));
      break;
    }
  }
}

Bytes mutated(Bytes bytes, std::mt19937_64& random) {
  for (auto left = 1 + random() % 6; left > 0; --left) mutate_once(bytes, random);
  return bytes;
}

std::uint64_t memory_in_use() {
  std::ifstream file("/proc/self/statm");
  std::uint64_t pages = 0;
  file >> pages;
  return pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

void limit_process() {
  alarm(batch_seconds);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  const rlimit limit{memory_in_use() + spare_memory, RLIM_INFINITY};
  setrlimit(RLIMIT_AS, &limit);
#endif
}

struct Findings {
  std::int64_t read = 0, accepted = 0, crashes = 0, other_exceptions = 0;
  std::string first;
};

struct Progress {
  std::uint64_t seed;
  std::int64_t accepted, other_exceptions;
  char message[512];
};

// One process reads the files of the seeds first .. last-1; what it is about to read stands in shared memory.
void read_batch(const std::function<void(std::uint64_t)>& read, std::uint64_t first, std::uint64_t last,
                Progress& progress) {
  limit_process();
  for (progress.seed = first; progress.seed < last; ++progress.seed) {
    try {
      read(progress.seed);
      ++progress.accepted;
    } catch (const Error&) {
    } catch (const std::exception& error) {
      if (progress.other_exceptions++ == 0)
        std::snprintf(progress.message, sizeof progress.message, "seed %llu: %s",
                      static_cast<unsigned long long>(progress.seed), error.what());
    }
  }
}

Findings fuzz(const std::function<void(std::uint64_t)>& read, const Budget& budget) {
  void* shared = mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto& progress = *static_cast<Progress*>(shared);
  Findings findings;
  for (std::uint64_t seed = 0; budget.more(static_cast<std::int64_t>(seed));) {
    progress = {};
    const pid_t child = fork();
    if (child == 0) {
      read_batch(read, seed, seed + batch, progress);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    findings.accepted += progress.accepted;
    findings.other_exceptions += progress.other_exceptions;
    if (findings.first.empty()) findings.first = progress.message;
    const bool crashed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    if (crashed) {
      ++findings.crashes;
      if (findings.first.empty())
        findings.first = "seed " + std::to_string(progress.seed) + ": status " + std::to_string(status);
    }
    const auto next = crashed ? progress.seed + 1 : seed + batch;
    findings.read += static_cast<std::int64_t>(next - seed);
    seed = next;
  }
  munmap(shared, sizeof(Progress));
  return findings;
}

void expect_no_findings(const char* reader, const Findings& findings, std::int64_t whole) {
  std::printf("%s: %lld files read, %lld accepted, %lld crashes, %lld exceptions that are no Error %s\n", reader,
              static_cast<long long>(findings.read), static_cast<long long>(findings.accepted),
              static_cast<long long>(findings.crashes), static_cast<long long>(findings.other_exceptions),
              findings.first.c_str());
  report("readers", std::string("mutated files given to the reader of ") + reader, findings.read, whole);
  report("readers", std::string("crashes, hangs or foreign exceptions of the reader of ") + reader,
         findings.crashes + findings.other_exceptions);
  EXPECT_GT(findings.read, 0);
  EXPECT_LT(findings.accepted, findings.read);
  EXPECT_EQ(findings.crashes, 0) << findings.first;
  EXPECT_EQ(findings.other_exceptions, 0) << findings.first;
}

// With a footer that fits: a hostile file has one. Five of 436,716 such files, the first with seed 119837, crash inside
// HDF5 1.10.8 while it reads its own metadata (docs/files.md).
TEST(Readers, OfCheckpointsWithAValidFooter) {
  const auto good = encode_checkpoint(checkpoint_of_step(7));
  const Bytes image(good.begin(), good.end() - 20);
  const auto findings = fuzz(
      [&](std::uint64_t seed) {
        std::mt19937_64 random(seed);
        auto bytes = mutated(image, random);
        append_footer(bytes);
        decode_checkpoint(bytes, "mutated");
      },
      Budget(2000, 10000));
  expect_no_findings("checkpoints", findings, 10000);
}

TEST(Readers, OfFootersAndDamagedCheckpoints) {
  const auto good = encode_checkpoint(checkpoint_of_step(7));
  const auto findings = fuzz(
      [&](std::uint64_t seed) {
        std::mt19937_64 random(seed);
        decode_checkpoint(mutated(good, random), "mutated");
      },
      Budget(2000, 10000));
  expect_no_findings("checkpoint footers", findings, 10000);
}

Bytes idx(std::vector<std::uint32_t> shape, std::size_t values) {
  Bytes bytes{std::byte{0}, std::byte{0}, std::byte{8}, static_cast<std::byte>(shape.size())};
  for (const auto extent : shape)
    for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<std::byte>(extent >> shift));
  for (std::size_t i = 0; i < values; ++i) bytes.push_back(static_cast<std::byte>(i % 10));
  return bytes;
}

TEST(Readers, OfIdxFiles) {
  const TemporaryFolder folder;
  const std::pair<const char*, Bytes> files[] = {{"train-images-idx3-ubyte", idx({12, 6, 5}, 360)},
                                                 {"train-labels-idx1-ubyte", idx({12}, 12)},
                                                 {"t10k-images-idx3-ubyte", idx({4, 6, 5}, 120)},
                                                 {"t10k-labels-idx1-ubyte", idx({4}, 4)}};
  const auto put = [&](const char* name, const Bytes& bytes) {
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  };
  for (const auto& [name, bytes] : files) put(name, bytes);
  ASSERT_NO_THROW(import_mnist(folder.path(), folder / "good.h5"));
  const auto findings = fuzz(
      [&](std::uint64_t seed) {
        std::mt19937_64 random(seed);
        const auto& [name, bytes] = files[random() % std::size(files)];
        put(name, mutated(bytes, random));
        try {
          import_mnist(folder.path(), folder / "out.h5");
        } catch (...) {
          put(name, bytes);
          throw;
        }
        put(name, bytes);
      },
      Budget(1000, 10000));
  expect_no_findings("IDX", findings, 10000);
}

// The control: a reader that believes the header is found out.
TEST(Readers, AReaderThatBelievesTheHeaderIsCaught) {
  const auto good = idx({12, 6, 5}, 360);
  const auto findings = fuzz(
      [&](std::uint64_t seed) {
        std::mt19937_64 random(seed);
        const auto bytes = mutated(good, random);
        if (bytes.size() < 16) fail_input("short");
        std::uint32_t count = 0;
        std::memcpy(&count, bytes.data() + 4, 4);
        const std::vector<std::byte> values(std::size_t{__builtin_bswap32(count)} * 6 * 5);
        if (values.size() + 16 != bytes.size()) fail_input("size");
      },
      Budget(500, 500));
  const auto caught = findings.crashes + findings.other_exceptions > 0;
  report_mutants("readers", "a reader that believes the header", caught, 1);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  EXPECT_TRUE(caught);
#endif
}

}  // namespace
}  // namespace spankey::test::readers_test
