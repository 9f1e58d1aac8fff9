// Memory for secrets, from libsodium: between guard pages, locked into RAM where the system allows it, left out of core
// dumps, and overwritten with zeros when it is released.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

namespace spankey {

// A block of such memory. It may be moved and not copied by accident. The memory may be locked up to RLIMIT_MEMLOCK.
// Beyond that the system may write it to swap space, of which the log warns once. Each block takes at least four pages,
// so that many small secrets belong into one.
class SecretBytes {
 public:
  SecretBytes() = default;
  explicit SecretBytes(std::size_t size);  // zeros
  SecretBytes(SecretBytes&& other) noexcept : memory_(std::move(other.memory_)), size_(std::exchange(other.size_, 0)) {}
  SecretBytes& operator=(SecretBytes&& other) noexcept {
    memory_ = std::move(other.memory_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }
  static SecretBytes random(std::size_t size);
  static SecretBytes copy_of(std::span<const std::byte> bytes);

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::span<std::byte> bytes() { return {memory_.get(), size_}; }
  std::span<const std::byte> bytes() const { return {memory_.get(), size_}; }
  // The size must be a multiple of that of a float.
  std::span<float> floats();
  std::span<const float> floats() const;

  // Keeps the first `size` bytes, which must be there. Nothing is allocated, and the rest is overwritten with zeros.
  void shorten(std::size_t size);

 private:
  struct Release {
    void operator()(std::byte* memory) const;
  };
  std::unique_ptr<std::byte, Release> memory_;
  std::size_t size_ = 0;
};

// Compares in a time that depends on the sizes alone.
bool same_secret(std::span<const std::byte> a, std::span<const std::byte> b);

}  // namespace spankey
