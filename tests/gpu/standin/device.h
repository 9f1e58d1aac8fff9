// What the libraries of the stand-in share: streams, events, captures and the memory of the device. One lock guards
// all.
#pragma once

#include <cuda_runtime_api.h>

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "standin.h"

namespace spankey::standin {

// A recorded graph and, while its recording goes on, who records it.
struct Capture {
  unsigned long long id = 0;
  std::thread::id thread;
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  bool valid = true;
  struct Node {
    cudaGraphNodeType type;
    std::string what;
    std::set<std::size_t> after;  // numbers of the nodes before it
  };
  std::vector<Node> nodes;
};

// The last nodes of a stream under capture. An event holds those of its stream when it was recorded.
struct Place {
  std::shared_ptr<Capture> capture;  // nullptr outside of captures
  std::set<std::size_t> last;
};

// Ranges of addresses, by where they begin.
class Memory {
 public:
  // Returns nullptr where the device has no room.
  void* allocate_device(std::size_t bytes);
  bool free_device(void* address);
  void* allocate_pinned(std::size_t bytes);
  bool free_pinned(void* address);
  bool is_device(const void* address) const { return contains(device_, address); }
  bool is_pinned(const void* address) const { return contains(pinned_, address); }
  std::int64_t bytes() const { return bytes_; }

  static constexpr std::int64_t capacity = std::int64_t{140} << 30;

 private:
  using Ranges = std::map<const char*, std::size_t>;
  static bool contains(const Ranges& ranges, const void* address);

  Ranges device_, pinned_;
  std::int64_t bytes_ = 0;
};

// The one device of a process. The caller holds the lock of device().
class Device {
 public:
  // Records a broken rule and returns `error`.
  cudaError_t violate(const std::string& sentence, cudaError_t error = cudaSuccess);
  // An error where this thread records a graph, or another does in a mode that forbids this call to everybody.
  cudaError_t forbid_in_capture(const std::string& call);
  // The same, and a wait of the host.
  cudaError_t wait(const std::string& call);

  // Puts work on a stream, recorded where it is captured.
  bool is_capturing(cudaStream_t stream) { return streams_[stream].capture != nullptr; }
  void add(cudaStream_t stream, cudaGraphNodeType type, const std::string& what);
  cudaError_t copy(void* to, const void* from, std::size_t bytes, cudaStream_t stream);
  // What arrives where a copy goes to the host.
  void arrive(void* to, const void* from, std::size_t bytes) const;

  void begin_capture(cudaStream_t stream, cudaStreamCaptureMode mode);
  cudaError_t end_capture(cudaStream_t stream, std::shared_ptr<Capture>& graph);
  cudaError_t join(cudaStream_t stream, const Place& event);
  Place& place(cudaStream_t stream) { return streams_[stream]; }

  Memory memory;
  std::map<const void*, std::string> kernels;  // names by the address of their host function
  Counts counts;
  std::vector<std::string> violations;
  std::set<void*> communicators;
  std::set<std::string> captured_kernels;  // of the last graph

 private:
  std::map<cudaStream_t, Place> streams_;
  std::vector<std::shared_ptr<Capture>> open_captures_;
  unsigned long long captures_ = 0;
};

// The mode that cudaThreadExchangeStreamCaptureMode has set for this thread.
extern thread_local cudaStreamCaptureMode thread_capture_mode;

// The device with its lock, for the life of the object.
class Locked {
 public:
  Locked();
  Device* operator->() const { return device_; }

 private:
  std::unique_lock<std::mutex> lock_;
  Device* device_;
};

// For the other libraries: a kernel of theirs.
void launch(const std::string& name, cudaStream_t stream);

}  // namespace spankey::standin
