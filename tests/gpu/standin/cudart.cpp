// libcudart: kernels, streams, events, captures, memory.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "device.h"

#undef cudaLaunchKernel
#undef cudaLaunchKernelExC

using spankey::standin::Capture;
using spankey::standin::Locked;
using spankey::standin::Place;
using spankey::standin::thread_capture_mode;

namespace {

thread_local cudaError_t last_error = cudaSuccess;

cudaError_t keep(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

Place* place_of(cudaEvent_t event) {
  return reinterpret_cast<Place*>(event);
}

struct LaunchShape {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
  void* stream = nullptr;
};
thread_local LaunchShape next_launch;

// What an H200 allows.
bool fits(const dim3& grid, const dim3& block, std::size_t shared_bytes) {
  constexpr unsigned most_threads = 1024, most_blocks_y = 65535, most_block_z = 64;
  constexpr std::size_t most_shared_bytes = 232448;
  return grid.x > 0 && grid.x <= 0x7fffffffU && grid.y > 0 && grid.y <= most_blocks_y && grid.z > 0 &&
         grid.z <= most_blocks_y && block.x > 0 && block.y > 0 && block.z > 0 && block.z <= most_block_z &&
         std::uint64_t{block.x} * block.y * block.z <= most_threads && shared_bytes <= most_shared_bytes;
}

std::string shape_of(const dim3& grid, const dim3& block, std::size_t shared_bytes) {
  char text[128];
  std::snprintf(text, sizeof text, "<<<(%u, %u, %u), (%u, %u, %u), %zu>>>", grid.x, grid.y, grid.z, block.x, block.y,
                block.z, shared_bytes);
  return text;
}

cudaError_t launch_kernel(const void* function, const dim3& grid, const dim3& block, std::size_t shared_bytes,
                          cudaStream_t stream) {
  const Locked device;
  ++device->counts.launches;
  const auto& name = device->kernels[function];
  if (!fits(grid, block, shared_bytes))
    return keep(
        device->violate("a launch of " + name + shape_of(grid, block, shared_bytes), cudaErrorInvalidConfiguration));
  device->add(stream, cudaGraphNodeTypeKernel, name);
  return cudaSuccess;
}

}  // namespace

extern "C" {

// Kernels, as the host code of nvcc registers and launches them

void** __cudaRegisterFatBinary(void*) {
  static void* handle = nullptr;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterVar(void**, char*, char*, const char*, int, std::size_t, int, int) {}
void __cudaRegisterFunction(void**, const char* function, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*,
                            int*) {
  Locked()->kernels[function] = name;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared_bytes, cudaStream_t stream) {
  next_launch = {grid, block, shared_bytes, stream};
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, std::size_t* shared_bytes, void* stream) {
  *grid = next_launch.grid;
  *block = next_launch.block;
  *shared_bytes = next_launch.shared_bytes;
  *static_cast<void**>(stream) = next_launch.stream;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
  *kernel = static_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void**, std::size_t shared_bytes,
                               cudaStream_t stream) {
  return launch_kernel(kernel, grid, block, shared_bytes, stream);
}
cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void**, std::size_t shared_bytes,
                             cudaStream_t stream) {
  return launch_kernel(function, grid, block, shared_bytes, stream);
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void**) {
  return launch_kernel(function, config->gridDim, config->blockDim, config->dynamicSmemBytes, config->stream);
}

cudaError_t cudaGetLastError() {
  return std::exchange(last_error, cudaSuccess);
}
cudaError_t cudaPeekAtLastError() {
  return last_error;
}

// Memory

cudaError_t cudaMalloc(void** address, std::size_t bytes) {
  const Locked device;
  if (const auto error = device->forbid_in_capture("cudaMalloc")) return keep(error);
  *address = device->memory.allocate_device(bytes);
  if (!*address) return keep(cudaErrorMemoryAllocation);
  auto& counts = device->counts;
  counts.bytes = device->memory.bytes();
  counts.peak_bytes = std::max(counts.peak_bytes, counts.bytes);
  return cudaSuccess;
}
cudaError_t cudaFree(void* address) {
  if (!address) return cudaSuccess;
  const Locked device;
  if (const auto error = device->forbid_in_capture("cudaFree")) return keep(error);
  if (!device->memory.free_device(address))
    return keep(device->violate("cudaFree of what cudaMalloc did not return", cudaErrorInvalidValue));
  device->counts.bytes = device->memory.bytes();
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** address, std::size_t bytes, unsigned) {
  const Locked device;
  if (const auto error = device->forbid_in_capture("cudaHostAlloc")) return keep(error);
  *address = device->memory.allocate_pinned(bytes);
  return *address ? cudaSuccess : keep(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* address) {
  const Locked device;
  return device->memory.free_pinned(address) ? cudaSuccess : keep(cudaErrorInvalidValue);
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  const Locked device;
  *total_bytes = static_cast<std::size_t>(spankey::standin::Memory::capacity);
  *free_bytes = *total_bytes - static_cast<std::size_t>(device->memory.bytes());
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  const Locked device;
  *attributes = {};
  auto* pointer = const_cast<void*>(address);
  attributes->type = device->memory.is_device(address)   ? cudaMemoryTypeDevice
                     : device->memory.is_pinned(address) ? cudaMemoryTypeHost
                                                         : cudaMemoryTypeUnregistered;
  if (attributes->type != cudaMemoryTypeUnregistered) attributes->devicePointer = pointer;
  if (attributes->type != cudaMemoryTypeDevice) attributes->hostPointer = pointer;
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  const Locked device;
  return keep(device->copy(to, from, bytes, stream));
}
cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, std::size_t bytes, cudaStream_t stream) {
  const Locked device;
  return keep(device->copy(to, from, bytes, stream));
}
cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind) {
  const Locked device;
  if (const auto error = device->wait("cudaMemcpy")) return keep(error);
  device->arrive(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void*, int, std::size_t, cudaStream_t stream) {
  const Locked device;
  device->add(stream, cudaGraphNodeTypeMemset, "a fill");
  return cudaSuccess;
}
cudaError_t cudaMemset(void*, int, std::size_t) {
  const Locked device;
  return keep(device->forbid_in_capture("cudaMemset"));
}

// Streams and events. A stream is a number that no other stream has.

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int) {
  static char numbers[4096];
  static std::size_t next = 0;
  const Locked device;
  if (++next == sizeof numbers) return keep(cudaErrorMemoryAllocation);
  *stream = reinterpret_cast<cudaStream_t>(numbers + next);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t) {
  return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const Locked device;
  if (!device->is_capturing(stream)) return cudaSuccess;
  device->place(stream).capture->valid = false;
  return keep(device->violate("cudaStreamQuery of a captured stream", cudaErrorStreamCaptureUnsupported));
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Locked device;
  if (!device->is_capturing(stream)) return keep(device->wait("cudaStreamSynchronize"));
  device->place(stream).capture->valid = false;
  return keep(device->violate("cudaStreamSynchronize of a captured stream", cudaErrorStreamCaptureUnsupported));
}
cudaError_t cudaDeviceSynchronize() {
  const Locked device;
  return keep(device->wait("cudaDeviceSynchronize"));
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Locked device;
  return keep(device->join(stream, *place_of(event)));
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(new Place);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, 0);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Locked device;
  delete place_of(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Locked device;
  *place_of(event) = device->place(stream);
  return cudaSuccess;
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  return cudaEventRecord(event, stream);
}
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Locked device;
  if (!place_of(event)->capture) return keep(device->forbid_in_capture("cudaEventQuery"));
  return keep(device->violate("cudaEventQuery of a captured event", cudaErrorCapturedEvent));
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Locked device;
  if (!place_of(event)->capture) return keep(device->wait("cudaEventSynchronize"));
  return keep(device->violate("cudaEventSynchronize of a captured event", cudaErrorCapturedEvent));
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 1.0F;
  return cudaSuccess;
}

// Captures and graphs. A graph is a Capture that has ended.

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, thread_capture_mode);
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  const Locked device;
  const auto& capture = device->place(stream).capture;
  *status = !capture         ? cudaStreamCaptureStatusNone
            : capture->valid ? cudaStreamCaptureStatusActive
                             : cudaStreamCaptureStatusInvalidated;
  return cudaSuccess;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id,
                                     cudaGraph_t* graph, const cudaGraphNode_t** after, const cudaGraphEdgeData** edges,
                                     std::size_t* count) {
  cudaStreamIsCapturing(stream, status);
  const Locked device;
  const auto& capture = device->place(stream).capture;
  if (id) *id = capture ? capture->id : 0;
  if (graph) *graph = reinterpret_cast<cudaGraph_t>(capture.get());
  if (after) *after = nullptr;
  if (edges) *edges = nullptr;
  if (count) *count = 0;
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const Locked device;
  if (!stream) return keep(device->violate("a capture of the default stream", cudaErrorStreamCaptureUnsupported));
  device->begin_capture(stream, mode);
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  const Locked device;
  std::shared_ptr<Capture> captured;
  *graph = nullptr;
  const auto error = device->end_capture(stream, captured);
  if (captured) *graph = reinterpret_cast<cudaGraph_t>(new Capture(*captured));
  return keep(error);
}
cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, std::size_t* count) {
  auto& all = reinterpret_cast<Capture*>(graph)->nodes;
  for (std::size_t i = 0; nodes && i < std::min(*count, all.size()); ++i)
    nodes[i] = reinterpret_cast<cudaGraphNode_t>(&all[i]);
  *count = all.size();
  return cudaSuccess;
}
cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  *type = reinterpret_cast<Capture::Node*>(node)->type;
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  const Locked device;
  if (const auto error = device->forbid_in_capture("cudaGraphInstantiate")) return keep(error);
  *executable = reinterpret_cast<cudaGraphExec_t>(new Capture(*reinterpret_cast<Capture*>(graph)));
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t, cudaStream_t stream) {
  const Locked device;
  if (device->is_capturing(stream)) device->violate("a graph is launched in a capture");
  ++device->counts.replays;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete reinterpret_cast<Capture*>(executable);
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete reinterpret_cast<Capture*>(graph);
  return cudaSuccess;
}

}  // extern "C"
