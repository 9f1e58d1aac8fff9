#include "device.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

namespace spankey::standin {
namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t most_kept_violations = 1000;

// What a program leaves that was run on the stand-in, in the file SPANKEY_STANDIN_LOG: a line for each process. It is
// written anew at each wait of the host, because programs may end without a farewell.
void report(const Counts& c, std::size_t violations) {
  static const char* file = std::getenv("SPANKEY_STANDIN_LOG");
  if (!file || (c.launches == 0 && violations == 0)) return;
  std::array<char, 200> line;
  const auto length = static_cast<std::size_t>(std::snprintf(
      line.data(), line.size(),
      "launches %lld, replays %lld, host waits %lld, copies to the host %lld, peak MiB %lld, violations %zu",
      static_cast<long long>(c.launches), static_cast<long long>(c.replays), static_cast<long long>(c.host_waits),
      static_cast<long long>(c.copies_to_host), static_cast<long long>(c.peak_bytes >> 20), violations));
  std::fill(line.begin() + static_cast<std::ptrdiff_t>(length), line.end(), ' ');
  line.back() = '\n';
  static const off_t place = [&] {
    const int end = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    const auto written = write(end, line.data(), line.size());
    const auto behind = lseek(end, 0, SEEK_CUR);
    close(end);
    return behind - written;
  }();
  const int whole = open(file, O_WRONLY | O_CLOEXEC);
  if (pwrite(whole, line.data(), line.size(), place) < 0) std::perror(file);
  close(whole);
}

// In the file SPANKEY_STANDIN_GRAPHS: what each captured graph launches, and how often.
void report(const Capture& capture) {
  const char* file = std::getenv("SPANKEY_STANDIN_GRAPHS");
  if (!file) return;
  std::map<std::string, int> times;
  for (const auto& node : capture.nodes) ++times[node.what];
  std::ofstream out(file, std::ios::app);
  out << "graph " << capture.id << " of " << capture.nodes.size() << " nodes\n";
  for (const auto& [what, count] : times) out << count << '\t' << what << '\n';
}

}  // namespace

thread_local cudaStreamCaptureMode thread_capture_mode = cudaStreamCaptureModeGlobal;

// Neither is ever destroyed, because threads and static objects of LibTorch use them until the end.
Locked::Locked() {
  static auto* mutex = new std::mutex;
  static auto* device = new Device;
  lock_ = std::unique_lock(*mutex);
  device_ = device;
}

void launch(const std::string& name, cudaStream_t stream) {
  const Locked device;
  ++device->counts.launches;
  device->add(stream, cudaGraphNodeTypeKernel, name);
}

Counts counts() {
  return Locked()->counts;
}

std::vector<std::string> violations() {
  return Locked()->violations;
}

std::set<std::string> captured_kernels() {
  return Locked()->captured_kernels;
}

void restart() {
  const Locked device;
  device->violations.clear();
  device->counts = {};
  device->counts.bytes = device->counts.peak_bytes = device->memory.bytes();
}

std::vector<void*> nccl_communicators() {
  const Locked device;
  return {device->communicators.begin(), device->communicators.end()};
}

// Memory

bool Memory::contains(const Ranges& ranges, const void* address) {
  const auto* byte = static_cast<const char*>(address);
  const auto after = ranges.upper_bound(byte);
  if (after == ranges.begin()) return false;
  const auto& [begin, bytes] = *std::prev(after);
  return byte < begin + bytes;
}

void* Memory::allocate_device(std::size_t bytes) {
  bytes = (bytes + page - 1) / page * page;
  if (bytes_ + static_cast<std::int64_t>(bytes) > capacity) return nullptr;
  void* address = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return nullptr;
  device_[static_cast<char*>(address)] = bytes;
  bytes_ += static_cast<std::int64_t>(bytes);
  return address;
}

bool Memory::free_device(void* address) {
  const auto range = device_.find(static_cast<char*>(address));
  if (range == device_.end()) return false;
  munmap(address, range->second);
  bytes_ -= static_cast<std::int64_t>(range->second);
  device_.erase(range);
  return true;
}

void* Memory::allocate_pinned(std::size_t bytes) {
  bytes = std::max(bytes, std::size_t{1});
  void* address = std::calloc(1, bytes);
  if (address) pinned_[static_cast<char*>(address)] = bytes;
  return address;
}

bool Memory::free_pinned(void* address) {
  if (pinned_.erase(static_cast<char*>(address)) == 0) return false;
  std::free(address);
  return true;
}

// Rules

cudaError_t Device::violate(const std::string& sentence, cudaError_t error) {
  std::fprintf(stderr, "stand-in of CUDA: %s\n", sentence.c_str());
  if (violations.size() < most_kept_violations) violations.push_back(sentence);
  report(counts, violations.size());
  return error;
}

cudaError_t Device::forbid_in_capture(const std::string& call) {
  if (thread_capture_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  for (const auto& capture : open_captures_) {
    const bool mine = capture->thread == std::this_thread::get_id() && capture->mode != cudaStreamCaptureModeRelaxed;
    const bool everybodys =
        thread_capture_mode == cudaStreamCaptureModeGlobal && capture->mode == cudaStreamCaptureModeGlobal;
    if (!mine && !everybodys) continue;
    capture->valid = false;
    return violate(call + " during a capture", cudaErrorStreamCaptureUnsupported);
  }
  return cudaSuccess;
}

cudaError_t Device::wait(const std::string& call) {
  ++counts.host_waits;
  report(counts, violations.size());
  return forbid_in_capture(call);
}

// CUDA lets the thread that captures launch on other streams. A step never means to.
void Device::add(cudaStream_t stream, cudaGraphNodeType type, const std::string& what) {
  auto& [capture, last] = streams_[stream];
  if (capture) {
    capture->nodes.push_back({type, what, last});
    last = {capture->nodes.size() - 1};
    return;
  }
  for (const auto& open : open_captures_)
    if (open->thread == std::this_thread::get_id())
      violate(what + " beside the capture, on a stream that it does not record");
}

cudaError_t Device::copy(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  const bool to_device = memory.is_device(to), from_device = memory.is_device(from);
  const bool pageable = !(to_device && from_device) && !(to_device ? memory.is_pinned(from) : memory.is_pinned(to));
  if (pageable) ++counts.host_waits;
  if (from_device && !to_device) ++counts.copies_to_host;
  add(stream, cudaGraphNodeTypeMemcpy, "a copy");
  if (!is_capturing(stream)) {
    arrive(to, from, bytes);
    return cudaSuccess;
  }
  if (!pageable) return cudaSuccess;
  streams_[stream].capture->valid = false;
  return violate("a copy of pageable memory in a capture", cudaErrorStreamCaptureUnsupported);
}

void Device::arrive(void* to, const void* from, std::size_t bytes) const {
  if (memory.is_device(to)) return;
  if (memory.is_device(from))
    std::memset(to, 0, bytes);
  else
    std::memmove(to, from, bytes);
}

void Device::begin_capture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  auto capture = std::make_shared<Capture>();
  capture->id = ++captures_;
  capture->thread = std::this_thread::get_id();
  capture->mode = mode;
  streams_[stream] = {capture, {}};
  open_captures_.push_back(capture);
}

cudaError_t Device::end_capture(cudaStream_t stream, std::shared_ptr<Capture>& graph) {
  const auto [capture, last] = streams_[stream];
  if (!capture) return violate("the end of a capture that was not begun", cudaErrorIllegalState);
  if (capture->thread != std::this_thread::get_id() && capture->mode != cudaStreamCaptureModeRelaxed)
    violate("a capture is ended by another thread");
  for (auto& [other, place] : streams_)
    if (place.capture == capture) place = {};
  std::erase(open_captures_, capture);
  if (!capture->valid) return cudaErrorStreamCaptureInvalidated;

  std::set<std::size_t> joined = last, next = last;
  while (!next.empty()) {
    std::set<std::size_t> before;
    for (const auto node : next)
      for (const auto earlier : capture->nodes[node].after)
        if (joined.insert(earlier).second) before.insert(earlier);
    next = std::move(before);
  }
  if (joined.size() != capture->nodes.size())
    return violate(std::to_string(capture->nodes.size() - joined.size()) + " captured nodes were never joined",
                   cudaErrorStreamCaptureUnjoined);
  report(*capture);
  captured_kernels.clear();
  for (const auto& node : capture->nodes)
    if (node.type == cudaGraphNodeTypeKernel) captured_kernels.insert(node.what);
  graph = capture;
  return cudaSuccess;
}

// A stream waits for an event.
cudaError_t Device::join(cudaStream_t stream, const Place& event) {
  auto& [capture, last] = streams_[stream];
  if (!event.capture) {
    if (!capture) return cudaSuccess;
    return violate("a captured stream waits for an event of before the capture", cudaErrorStreamCaptureIsolation);
  }
  const bool open = std::find(open_captures_.begin(), open_captures_.end(), event.capture) != open_captures_.end();
  if (!open) return violate("a stream waits for an event of a capture that has ended", cudaErrorCapturedEvent);
  if (capture && capture != event.capture) return violate("two captures are joined", cudaErrorStreamCaptureMerge);
  capture = event.capture;
  last.insert(event.last.begin(), event.last.end());
  return cudaSuccess;
}

}  // namespace spankey::standin
