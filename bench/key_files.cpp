// What key files cost: to verify and open a user's key, and to issue a thousand of them. The network's answers to a new
// key, which key issue asks for as well, are not in it.
#include <benchmark/benchmark.h>

#include <filesystem>
#include <vector>

#include "keyring/issue.h"
#include "keyring/valid_key.h"
#include "tests/support/temporary_folder.h"

namespace {

using namespace spankey;

constexpr std::int64_t now = 1'800'000'000;
constexpr std::int64_t width = 1568;  // the second injection point of small_cnn

Owner make_owner() {
  Owner owner;
  owner.model_id = std::string(64, 'a');
  owner.key.layers = {1};
  owner.sites = {{1, width}};
  owner.basis = secret_basis(make_basis(owner.key, {width}, 7));
  owner.master_secret = SecretBytes::random(32);
  owner.signing_seed = SecretBytes::random(32);
  owner.public_key = owner.signing_key().public_key();
  return owner;
}

SecretBytes passphrase() {
  return SecretBytes::copy_of(std::as_bytes(std::span("correct horse")));
}

constexpr Argon2Cost least{.passes = 1, .memory_bytes = 8192};

std::vector<IssueRequest> requests(const std::filesystem::path& folder, std::int64_t count) {
  std::vector<IssueRequest> all;
  for (std::int64_t i = 0; i < count; ++i)
    all.push_back({.name = "holder",
                   .not_before = now,
                   .not_after = now + 1,
                   .out = folder / (std::to_string(i) + ".skk"),
                   .seal = {}});
  return all;
}

void verify_and_open(benchmark::State& state) {
  const test::TemporaryFolder folder;
  OwnerFolder::create({folder / "owner"}, make_owner(), passphrase(), least, now);
  OwnerFolder owner({folder / "owner"}, passphrase(), OwnerFolder::Access::write, now);
  issue_keys(owner, requests(folder.path(), 1), now);
  const KeyUse use{
      .model_id = owner.owner().model_id, .owner = owner.owner().public_key, .now = now, .revoked = nullptr};
  for (auto _ : state) {
    auto file = read_user_key_file(folder / "0.skk");
    require_usable(file.key, file.owner, use, "0.skk");
    benchmark::DoNotOptimize(open_user_key(std::move(file), {}, "0.skk"));
  }
}
BENCHMARK(verify_and_open)->Unit(benchmark::kMillisecond);

void issue_a_thousand(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    const test::TemporaryFolder folder;
    OwnerFolder::create({folder / "owner"}, make_owner(), passphrase(), least, now);
    OwnerFolder owner({folder / "owner"}, passphrase(), OwnerFolder::Access::write, now);
    state.ResumeTiming();
    issue_keys(owner, requests(folder.path(), 1000), now);
  }
}
BENCHMARK(issue_a_thousand)->Unit(benchmark::kSecond)->Iterations(1)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
