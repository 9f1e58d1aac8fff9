// Work of a device that is recorded once and then repeated without the host's part in it.
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

  // Records what `work` launches; nothing is executed. Replaces what was recorded before. `work` must not wait for the
  // device, and must have run through use() before: libraries make their workspaces and connections on first use.
  // After an error there is no recorded work.
  virtual void capture(const std::function<void()>& work) = 0;
  // Once more what was recorded, on the stream of use(). Error(run_failed) where nothing is recorded.
  virtual void replay() = 0;
  // Runs `work` as it stands, on the stream on which it would be captured.
  virtual void use(const std::function<void()>& work) = 0;
  // Kernels of what is recorded: the host launches all of them with one call. 0: nothing is recorded, or on the CPU.
  virtual std::int64_t kernels() const { return 0; }

 protected:
  DeviceGraph() = default;
};

// For the CPU: capture() keeps the function, replay() calls it.
std::unique_ptr<DeviceGraph> make_eager_graph();

}  // namespace spankey
