// Device work that is recorded once and then repeated without the host launching each kernel.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace spankey {

class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;
  DeviceGraph(const DeviceGraph&) = delete;
  DeviceGraph& operator=(const DeviceGraph&) = delete;

  // Records what `work` launches, without executing it, in place of any earlier recording. `work` must not wait for the
  // device. It must have run through use() before, because libraries make their workspaces and connections on first
  // use. After an error nothing is recorded.
  virtual void capture(const std::function<void()>& work) = 0;
  // Runs the recorded work once more, on the stream of use(). Throws Error(run_failed) where nothing is recorded.
  virtual void replay() = 0;
  // Runs `work` directly, on the stream on which it would be captured.
  virtual void use(const std::function<void()>& work) = 0;
  // Number of recorded kernels, all of which the host launches with one call. 0 where nothing is recorded, and on the
  // CPU.
  virtual std::int64_t kernels() const { return 0; }

 protected:
  DeviceGraph() = default;
};

// For the CPU. capture() keeps the function and replay() calls it.
std::unique_ptr<DeviceGraph> make_eager_graph();

}  // namespace spankey
