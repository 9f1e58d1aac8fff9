#include "cuda_on_host.h"

#include <fmt/format.h>
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <csetjmp>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <utility>

namespace cuda_on_host {
namespace {

constexpr unsigned lanes = 32;
constexpr std::size_t stack_bytes = 128 << 10;
constexpr std::size_t most_shared_bytes = 48 << 10;
// Bytes behind each shared array that nobody may write.
constexpr std::size_t guard_bytes = 64;
constexpr auto guard = std::byte{0xA5};
constexpr std::size_t most_arrays = 64;

enum class State { ready, at_barrier, in_warp, done };

// A stack is entered by swapcontext() once. Later it is left and entered by jumps, which ask nothing of the system.
struct Fiber {
  ucontext_t context{};
  jmp_buf place;
  bool entered = false;
  std::unique_ptr<std::byte[]> stack;
  State state = State::done;
  std::source_location where;
  unsigned mask = 0;  // lanes that it waits for
  std::array<std::byte, most_exchanged_bytes> handed{};
};

struct SharedArray {
  int line, number;
  std::size_t offset, bytes;
};

// The one GPU. It runs one block at a time.
class Device {
 public:
  void run(const char* kernel, const Configuration& configuration, const std::function<void()>& thread);
  void wait(State state, unsigned mask, const std::source_location& where);
  const std::byte* exchange(unsigned mask, const void* value, std::size_t bytes, const std::source_location& where);
  void* shared_array(int line, int number, std::size_t bytes);
  void fail_thread(std::string what);
  Recorder recorder;
  unsigned current() const { return current_; }

 private:
  static void enter();
  void check(const Configuration& configuration) const;
  void make_fibers(unsigned count);
  void run_block(bool reversed);
  bool run_ready_threads(bool reversed);
  void resume(unsigned thread);
  bool release_warps();
  bool release_warp_of(unsigned thread);
  bool release_block();
  void check_guards();
  [[noreturn]] void fail(const std::string& what);
  std::string waiting_threads() const;

  void leave();

  ucontext_t scheduler_{};
  jmp_buf scheduler_place_;
  std::vector<Fiber> fibers_;
  const std::function<void()>* thread_ = nullptr;
  const char* kernel_ = "";
  unsigned count_ = 0, current_ = 0;
  std::size_t dynamic_bytes_ = 0, used_bytes_ = 0, end_ = 0;
  std::vector<SharedArray> arrays_;
  alignas(16) std::array<std::byte, most_shared_bytes + most_arrays*(guard_bytes + 16)> memory_{};
  std::string failure_;  // of the running thread
  // What the lanes of each warp have handed over. They read it before any of them is let go again.
  std::vector<std::array<std::byte, lanes * most_exchanged_bytes>> gathered_;
};

Device device;

// Kernels of each file that no launch has run.
std::map<std::string, std::set<std::string>>& unseen() {
  static std::map<std::string, std::set<std::string>> files;
  return files;
}

void Device::enter() {
  for (;;) {  // a fiber is the same thread of every block
    (*device.thread_)();
    device.wait(State::done, 0, std::source_location::current());
  }
}

void Device::wait(State state, unsigned mask, const std::source_location& where) {
  const unsigned self = current_;
  Fiber& fiber = fibers_[self];
  fiber.state = state;
  fiber.mask = mask;
  fiber.where = where;
  leave();
}

// Goes on in the scheduler until it resumes this thread.
void Device::leave() {
  if (_setjmp(fibers_[current_].place) == 0) _longjmp(scheduler_place_, 1);
}

// Ends the launch from within a thread.
void Device::fail_thread(std::string what) {
  failure_ = std::move(what);
  leave();
}

void Device::fail(const std::string& what) {
  fibers_.clear();  // they stand in the middle of the kernel
  throw std::runtime_error(
      fmt::format("{}, block ({}, {}, {}): {}", kernel_, blockIdx.x, blockIdx.y, blockIdx.z, what));
}

void Device::check(const Configuration& c) const {
  const auto within = [](const dim3& size, unsigned x, unsigned y, unsigned z) {
    return size.x >= 1 && size.y >= 1 && size.z >= 1 && size.x <= x && size.y <= y && size.z <= z;
  };
  const std::size_t threads = std::size_t{c.block.x} * c.block.y * c.block.z;
  if (within(c.grid, (1U << 31) - 1, 65535, 65535) && within(c.block, 1024, 1024, 64) && threads <= 1024 &&
      c.dynamic_shared_bytes <= most_shared_bytes)
    return;
  throw std::runtime_error(
      fmt::format("{}: a launch beyond the limits: grid ({}, {}, {}), block ({}, {}, {}), {} bytes", kernel_, c.grid.x,
                  c.grid.y, c.grid.z, c.block.x, c.block.y, c.block.z, c.dynamic_shared_bytes));
}

void Device::make_fibers(unsigned count) {
  count_ = count;
  gathered_.resize((count + lanes - 1) / lanes);
  for (unsigned i = static_cast<unsigned>(fibers_.size()); i < count; ++i) {
    Fiber& fiber = fibers_.emplace_back();
    fiber.stack = std::make_unique<std::byte[]>(stack_bytes);
  }
  for (Fiber& fiber : fibers_) {  // anew, since they may have moved
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = stack_bytes;
    makecontext(&fiber.context, enter, 0);
    fiber.entered = false;
  }
}

void Device::run(const char* kernel, const Configuration& configuration, const std::function<void()>& thread) {
  kernel_ = kernel;
  check(configuration);
  if (recorder) return recorder(kernel, configuration);
  for (auto& [file, kernels] : unseen()) kernels.erase(kernel);
  thread_ = &thread;
  gridDim = configuration.grid;
  blockDim = configuration.block;
  dynamic_bytes_ = configuration.dynamic_shared_bytes;
  make_fibers(blockDim.x * blockDim.y * blockDim.z);
  bool reversed = false;
  for (blockIdx.z = 0; blockIdx.z < gridDim.z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < gridDim.y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x, reversed = !reversed) run_block(reversed);
}

void Device::run_block(bool reversed) {
  std::fill_n(memory_.begin(), end_, std::byte{0xFF});
  arrays_.clear();
  used_bytes_ = dynamic_bytes_;
  end_ = 0;
  for (unsigned i = 0; i < count_; ++i) fibers_[i].state = State::ready;
  for (; run_ready_threads(reversed); reversed = !reversed)
    if (!release_warps() && !release_block()) break;
  check_guards();
}

bool Device::run_ready_threads(bool reversed) {
  bool any = false;
  for (unsigned i = 0; i < count_; ++i) {
    const unsigned thread = reversed ? count_ - 1 - i : i;
    if (fibers_[thread].state != State::ready) continue;
    any = true;
    resume(thread);
  }
  return any;
}

void Device::resume(unsigned thread) {
  current_ = thread;
  threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / (blockDim.x * blockDim.y)};
  Fiber& fiber = fibers_[thread];
  if (_setjmp(scheduler_place_) == 0) {
    if (fiber.entered) _longjmp(fiber.place, 1);
    fiber.entered = true;
    swapcontext(&scheduler_, &fiber.context);
  }
  if (!failure_.empty()) fail(std::exchange(failure_, {}));
}

bool Device::release_warps() {
  bool any = false;
  for (unsigned i = 0; i < count_; ++i) any = (fibers_[i].state == State::in_warp && release_warp_of(i)) || any;
  return any;
}

// Lets the lanes go on for which this thread waits, where all of them wait for each other at the same place.
bool Device::release_warp_of(unsigned thread) {
  const Fiber& one = fibers_[thread];
  const unsigned first = thread / lanes * lanes;
  const auto each = [&](auto&& work) {
    for (unsigned i = 0; i < lanes; ++i)
      if ((one.mask >> i & 1) != 0 && !work(first + i)) return false;
    return true;
  };
  const bool all = each([&](unsigned i) {
    return i < count_ && fibers_[i].state == State::in_warp && fibers_[i].mask == one.mask &&
           fibers_[i].where.line() == one.where.line();
  });
  if (!all) return false;
  return each([&](unsigned i) {
    std::copy_n(fibers_[i].handed.begin(), most_exchanged_bytes,
                gathered_[first / lanes].begin() + (i - first) * most_exchanged_bytes);
    fibers_[i].state = State::ready;
    return true;
  });
}

// Lets all threads go on where all wait at one barrier. Returns false where all have ended.
bool Device::release_block() {
  const auto begin = fibers_.begin(), end = begin + count_;
  if (std::all_of(begin, end, [](const Fiber& f) { return f.state == State::done; })) return false;
  const bool all = std::all_of(begin, end, [&](const Fiber& f) {
    return f.state == State::at_barrier && f.where.line() == begin->where.line();
  });
  if (!all) fail("threads part at a barrier: " + waiting_threads());
  std::for_each(begin, end, [](Fiber& f) { f.state = State::ready; });
  return true;
}

std::string Device::waiting_threads() const {
  std::map<std::string, std::pair<unsigned, unsigned>> places;  // how many, and the first of them
  for (unsigned i = 0; i < count_; ++i) {
    const Fiber& f = fibers_[i];
    const auto place = f.state == State::done ? std::string("have ended")
                                              : fmt::format("wait in line {}{}", f.where.line(),
                                                            f.state == State::in_warp ? " for their warp" : "");
    ++places.try_emplace(place, 0, i).first->second.first;
  }
  std::string text;
  for (const auto& [place, threads] : places)
    text += fmt::format("{}{} threads, the first is {}, {}", text.empty() ? "" : "; ", threads.first, threads.second,
                        place);
  return text;
}

const std::byte* Device::exchange(unsigned mask, const void* value, std::size_t bytes,
                                  const std::source_location& where) {
  const unsigned self = current_;
  if ((mask >> self % lanes & 1) == 0)
    fail_thread(fmt::format("thread {} in line {} is none of the lanes that it names", self, where.line()));
  if (bytes > 0) std::memcpy(fibers_[self].handed.data(), value, bytes);
  wait(State::in_warp, mask, where);
  return gathered_[self / lanes].data();
}

void* Device::shared_array(int line, int number, std::size_t bytes) {
  for (const SharedArray& array : arrays_)
    if (array.line == line && array.number == number && array.bytes == bytes) return memory_.data() + array.offset;
  if (used_bytes_ + bytes > most_shared_bytes || arrays_.size() == most_arrays)
    fail_thread(fmt::format("{} bytes of shared memory, {} at most", used_bytes_ + bytes, most_shared_bytes));
  arrays_.push_back({line, number, end_, bytes});
  std::fill_n(memory_.begin() + static_cast<std::ptrdiff_t>(end_), bytes, std::byte{0xFF});
  std::fill_n(memory_.begin() + static_cast<std::ptrdiff_t>(end_ + bytes), guard_bytes, guard);
  used_bytes_ += bytes;
  end_ = (end_ + bytes + guard_bytes + 15) / 16 * 16;
  return memory_.data() + arrays_.back().offset;
}

void Device::check_guards() {
  for (const SharedArray& array : arrays_) {
    const auto behind = memory_.begin() + static_cast<std::ptrdiff_t>(array.offset + array.bytes);
    if (std::any_of(behind, behind + guard_bytes, [](std::byte b) { return b != guard; }))
      fail(fmt::format("a write behind the shared array of line {}", array.line));
  }
}

}  // namespace

void record_with(Recorder recorder) {
  device.recorder = std::move(recorder);
}

void run(const char* kernel, const Configuration& configuration, const std::function<void()>& thread) {
  device.run(kernel, configuration, thread);
}

void* shared_array(int line, int number, std::size_t bytes) {
  return device.shared_array(line, number, bytes);
}

const std::byte* exchange(unsigned mask, const void* value, std::size_t bytes, const std::source_location& where) {
  return device.exchange(mask, value, bytes, where);
}

void fail(const std::string& what) {
  device.fail_thread(what);
}

unsigned lane() {
  return device.current() % lanes;
}

bool know(const char* file, std::initializer_list<const char*> kernels) {
  unseen()[file].insert(kernels.begin(), kernels.end());
  return true;
}

std::vector<std::string> known_files() {
  std::vector<std::string> names;
  for (const auto& [file, kernels] : unseen()) names.push_back(file);
  return names;
}

std::vector<std::string> kernels_not_run(const std::string& file) {
  const auto& kernels = unseen().at(file);
  return {kernels.begin(), kernels.end()};
}

}  // namespace cuda_on_host

void __syncthreads(const std::source_location& where) {
  cuda_on_host::device.wait(cuda_on_host::State::at_barrier, 0, where);
}
