#include "keyring/secret_bytes.h"

#include <sodium.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/secret.h"

namespace spankey {
namespace {

// sodium_malloc() has tried to lock the memory and says nothing where that failed. A second attempt tells.
void warn_where_unlocked(void* memory, std::size_t size) {
  static std::atomic<bool> told{false};
  if (sodium_mlock(memory, size) == 0 || told.exchange(true)) return;
  log::warning("secrets cannot be locked into memory ({}; ulimit -l): the system may write them to swap space",
               system_reason(errno));
}

}  // namespace

void SecretBytes::Release::operator()(std::byte* memory) const {
  sodium_free(memory);
}

SecretBytes::SecretBytes(std::size_t size) : size_(size) {
  if (size == 0) return;
  start_cryptography();
  memory_.reset(static_cast<std::byte*>(sodium_malloc(size)));
  if (!memory_) fail_run("not enough memory for a secret of {} bytes", size);
  warn_where_unlocked(memory_.get(), size);
  std::memset(memory_.get(), 0, size);
}

SecretBytes SecretBytes::random(std::size_t size) {
  SecretBytes result(size);
  randombytes_buf(result.memory_.get(), size);
  return result;
}

SecretBytes SecretBytes::copy_of(std::span<const std::byte> bytes) {
  SecretBytes result(bytes.size());
  if (!bytes.empty()) std::memcpy(result.memory_.get(), bytes.data(), bytes.size());
  return result;
}

std::span<float> SecretBytes::floats() {
  SPANKEY_CHECK_EQ(size_ % sizeof(float), std::size_t{0});
  return {reinterpret_cast<float*>(memory_.get()), size_ / sizeof(float)};
}

std::span<const float> SecretBytes::floats() const {
  SPANKEY_CHECK_EQ(size_ % sizeof(float), std::size_t{0});
  return {reinterpret_cast<const float*>(memory_.get()), size_ / sizeof(float)};
}

void SecretBytes::shorten(std::size_t size) {
  SPANKEY_CHECK_LE(size, size_);
  if (size < size_) sodium_memzero(memory_.get() + size, size_ - size);
  size_ = size;
}

bool same_secret(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || sodium_memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace spankey
