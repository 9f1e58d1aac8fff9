#include "dist/device_graph_cuda.h"

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAGuard.h>

#include <optional>
#include <vector>

#include "base/error.h"

namespace spankey {
namespace {

// The default stream cannot be captured.
c10::cuda::CUDAStream capturable_stream() {
  const auto current = c10::cuda::getCurrentCUDAStream();
  if (current == c10::cuda::getDefaultCUDAStream())
    fail_run("a device graph needs a current stream other than the default one: CudaModule::use_device comes first");
  return current;
}

std::int64_t count_kernels(cudaGraph_t graph) {
  std::size_t count = 0;
  C10_CUDA_CHECK(cudaGraphGetNodes(graph, nullptr, &count));
  std::vector<cudaGraphNode_t> nodes(count);
  C10_CUDA_CHECK(cudaGraphGetNodes(graph, nodes.data(), &count));
  std::int64_t kernels = 0;
  for (const auto node : nodes) {
    cudaGraphNodeType type{};
    C10_CUDA_CHECK(cudaGraphNodeGetType(node, &type));
    if (type == cudaGraphNodeTypeKernel) ++kernels;
  }
  return kernels;
}

class CudaGraph final : public DeviceGraph {
 public:
  CudaGraph() : stream_(capturable_stream()) {}

  void capture(const std::function<void()>& work) override {
    const c10::cuda::CUDAStreamGuard guard(stream_);
    // What eager steps or an earlier graph have left in the allocator's store goes back to the device. A graph takes
    // its memory from a store of its own, so that a second one of the same size would be kept for nothing.
    graph_.reset();
    stream_.synchronize();
    c10::cuda::CUDACachingAllocator::emptyCache();
    kernels_ = 0;
    auto& graph = graph_.emplace(/*keep_graph=*/true);  // which capture_end() would throw away, uncounted
    // The capture is thread-local, so that other threads that query events (NCCL's errors, checkpoints) do not break
    // it. What autograd's threads launch is captured by its stream.
    graph.capture_begin(/*pool=*/{0, 0}, cudaStreamCaptureModeThreadLocal);
    try {
      work();
      graph.capture_end();
      kernels_ = count_kernels(graph.raw_cuda_graph());
      graph.instantiate();
    } catch (...) {
      abandon();
      throw;
    }
  }

  void replay() override {
    if (!graph_) fail_run("replay of a device graph in which nothing is recorded");
    const c10::cuda::CUDAStreamGuard guard(stream_);
    graph_->replay();
  }

  void use(const std::function<void()>& work) override {
    const c10::cuda::CUDAStreamGuard guard(stream_);
    work();
  }

  std::int64_t kernels() const override { return kernels_; }

 private:
  // Ends a capture that has failed. An error of this call is only the same failure again.
  void abandon() {
    try {
      graph_->capture_end();
    } catch (const c10::Error&) {
      static_cast<void>(cudaGetLastError());
    }
    graph_.reset();
  }

  c10::cuda::CUDAStream stream_;
  std::optional<at::cuda::CUDAGraph> graph_;
  std::int64_t kernels_ = 0;
};

}  // namespace

std::unique_ptr<DeviceGraph> make_cuda_graph() {
  return std::make_unique<CudaGraph>();
}

}  // namespace spankey
