// Owns a file descriptor.
#pragma once

#include <unistd.h>

#include <utility>

namespace spankey {

// Closes the descriptor at the end of its life. It may be moved and not copied.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}  // below 0: none
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      reset();
      number_ = std::exchange(other.number_, -1);
    }
    return *this;
  }

  int get() const { return number_; }
  bool valid() const { return number_ >= 0; }
  // Closes the descriptor. Returns false, with errno, where the system reports that what was written is lost. The
  // destructor cannot report that.
  bool close() { return ::close(std::exchange(number_, -1)) == 0; }
  void reset() {
    if (valid()) close();
  }

 private:
  int number_ = -1;
};

}  // namespace spankey
