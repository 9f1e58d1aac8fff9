// The words of CUDA for sources that `convert` has made C++ of, so that kernels run, and are judged, without a GPU.
//
// Every thread of a block is a fiber. Threads run one after the other until they wait at a barrier, in an order that
// turns round from barrier to barrier and from block to block, so that a kernel that lacks a barrier computes something
// else. launch() throws std::runtime_error, which names the kernel, the block and the lines of the source, where the
// hardware would refuse the launch, hang or do what is not defined:
//   - grids, blocks and shared memory beyond the limits of compute capability 8.0 and later
//   - a barrier that some threads of the block, or lanes of a warp that it names, do not come to
//   - a write behind the end of an array in shared memory
// Shared memory starts as NaN in each block. Registers, occupancy and memory access patterns are not modelled.
#pragma once

#include <cstddef>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <source_location>
#include <string>
#include <type_traits>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x_size = 1, unsigned y_size = 1, unsigned z_size = 1) : x(x_size), y(y_size), z(z_size) {}
};

struct uint3 {
  unsigned x, y, z;
};

inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;

struct cudaStream_t {};
enum cudaMemcpyKind { cudaMemcpyDeviceToDevice };

inline int cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t) {
  std::memcpy(to, from, bytes);
  return 0;
}

namespace cuda_on_host {

// What stands between <<< and >>>.
struct Configuration {
  dim3 grid, block;
  std::size_t dynamic_shared_bytes = 0;
  cudaStream_t stream = {};
};

// Hands launches that the hardware would accept to `recorder`, which may be null, instead of running them.
using Recorder = std::function<void(const char* kernel, const Configuration&)>;
void record_with(Recorder recorder);

// Runs `thread` as every thread of every block. Throws std::runtime_error as said above.
void run(const char* kernel, const Configuration& configuration, const std::function<void()>& thread);

template <class... Parameters>
void launch(const char* name, const Configuration& configuration, void (*kernel)(Parameters...),
            std::type_identity_t<Parameters>... arguments) {
  run(name, configuration, [&] { kernel(arguments...); });
}

// The array that stands at this place of the source in the shared memory of the running block.
void* shared_array(int line, int number, std::size_t bytes);

template <class Array>
Array& shared(int line, int number) {
  static_assert(std::is_trivially_destructible_v<Array>);
  return *static_cast<Array*>(shared_array(line, number, sizeof(Array)));
}

// Largest value that lanes of a warp exchange at once.
constexpr std::size_t most_exchanged_bytes = 64;

// Hands `bytes` to the other lanes and waits for the lanes of `mask`, of which this must be one. Returns what each lane
// has handed over, most_exchanged_bytes apart; valid until the thread waits again.
const std::byte* exchange(unsigned mask, const void* value, std::size_t bytes, const std::source_location& where);

unsigned lane();

// Ends the launch, from within a thread of a kernel.
void fail(const std::string& what);

// Registers the kernels of a source file. Returns true.
bool know(const char* file, std::initializer_list<const char*> kernels);

// The files that are known, and the kernels of one of them that no launch has run yet.
std::vector<std::string> known_files();
std::vector<std::string> kernels_not_run(const std::string& file);

template <class T>
T shuffled(unsigned mask, const T& value, unsigned from, const std::source_location& where) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= most_exchanged_bytes);
  if ((mask >> from & 1) == 0) fail("a value from lane " + std::to_string(from) + ", which is not named");
  const std::byte* all = exchange(mask, &value, sizeof(T), where);
  T result;
  std::memcpy(&result, all + from * most_exchanged_bytes, sizeof(T));
  return result;
}

}  // namespace cuda_on_host

void __syncthreads(const std::source_location& where = std::source_location::current());

inline void __syncwarp(unsigned mask = ~0U, const std::source_location& where = std::source_location::current()) {
  cuda_on_host::exchange(mask, nullptr, 0, where);
}

template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by,
                   const std::source_location& where = std::source_location::current()) {
  const unsigned own = cuda_on_host::lane();
  return cuda_on_host::shuffled(mask, value, own + by < 32 ? own + by : own, where);
}

template <class T>
T __shfl_xor_sync(unsigned mask, T value, unsigned by,
                  const std::source_location& where = std::source_location::current()) {
  return cuda_on_host::shuffled(mask, value, cuda_on_host::lane() ^ by, where);
}

template <class T>
T __shfl_sync(unsigned mask, T value, unsigned from,
              const std::source_location& where = std::source_location::current()) {
  return cuda_on_host::shuffled(mask, value, from % 32, where);
}
