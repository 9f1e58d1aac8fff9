// A step that is run eagerly a few times, then captured as one graph, then replayed: which of the three comes next.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "dist/device_graph.h"

namespace spankey {

// The eager steps are steps of the run like all others. They make what a capture must find: workspaces of libraries,
// connections, memory. Capturing executes nothing, so that no state moves but by a step.
class CapturedWork {
 public:
  static constexpr int eager_steps_before_capture = 3;

  explicit CapturedWork(std::unique_ptr<DeviceGraph> graph) : graph_(std::move(graph)) {}

  // What a graph has written into it. Everything else is read from the device's memory when it is replayed.
  struct Constants {
    std::int64_t batch = 0;    // samples of the global batch
    double deny_weight = 0.0;  // of the deny loss, 0: none
    friend bool operator==(const Constants&, const Constants&) = default;
  };

  // `work` once. It must be the same work whenever `constants` are the same, and outlives this object's use of it. With
  // other constants than the last time the graph is given up and the work is eager again, then captured anew.
  void run(const Constants& constants, const std::function<void()>& work);

  // Outside of the graph, on its stream: work that differs now and then (the last partial batch, an upload).
  void run_uncaptured(const std::function<void()>& work) { graph_->use(work); }

  // DeviceGraph::kernels().
  std::int64_t kernels() const { return graph_->kernels(); }

 private:
  std::unique_ptr<DeviceGraph> graph_;
  Constants constants_;
  int eager_steps_ = 0;
  bool captured_ = false;
};

}  // namespace spankey
