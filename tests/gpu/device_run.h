// A run's steps on the device that its configuration asks for, eager or captured.
#pragma once

#include <ATen/Parallel.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "dist/backend.h"
#include "spankey/models/named_tensor.h"
#include "train/placement.h"
#include "train/resident_step.h"
#include "train/resources.h"
#include "train/training_parts.h"

namespace spankey::test {

// exact: eager in float64, on a CPU, which others are judged by.
enum class Flow { eager, captured, exact };

struct Trained {
  std::vector<StepFigures> figures;
  std::string digest;        // of weights, buffers and optimiser state
  std::int64_t kernels = 0;  // of the captured step
};

// The steps of a run on the device of `config`, by one or the other flow, on the ranks of `host`.
class DeviceRun {
 public:
  // `change` may give a captured flow other batches and keys.
  using Change = std::function<ResidentSource(ResidentSource)>;
  using GraphMaker = std::function<std::unique_ptr<DeviceGraph>(const Placement&)>;
  DeviceRun(const Config& config, Flow flow, const Change& change = {},
            std::unique_ptr<Communicator> host = make_communicator(Backend::self, 60),
            const GraphMaker& graph_of = make_graph)
      : host_(std::move(host)),
        experiment_(make_experiment(config, place(config, *host_))),
        on_device_(make_device_communicator(config, experiment_.placement, *host_)),
        exact_(flow == Flow::exact) {
    if (exact_) experiment_.model->to(at::kDouble);
    at::set_num_threads(resolve_threads(config, host_->node_size()));
    auto& communicator = this->communicator();
    const auto basis = make_basis(config.key, experiment_.key_dims, 42);
    auto graph = graph_of(experiment_.placement);
    graph->use([&] {
      auto parts = std::make_unique<TrainingParts>(experiment_, basis, resolve_shards(config, communicator.size()),
                                                   communicator);
      parts_ = parts.get();
      if (flow == Flow::captured) {
        auto source = make_resident_source(experiment_, parts->keys());
        if (change) source = change(std::move(source));
        resident_.emplace(std::move(parts), std::move(source), std::move(graph), communicator);
      }
      eager_ = std::move(parts);
    });
    experiment_.model->train();
  }

  // Steps one after the other, over the ends of epochs; figures of a captured flow are read at the end.
  void take(std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) {
      const double lr = experiment_.config.optim.lr;
      if (resident_)
        resident_->launch(at_, lr);
      else
        trained_.figures.push_back(parts_->step(load(), at_, lr, false));
      if (++at_.step == parts_->steps_per_epoch()) at_ = {at_.epoch + 1, 0, at_.global_step};
      ++at_.global_step;
    }
  }

  Trained finish() {
    if (resident_) {
      trained_.figures = resident_->collect();
      trained_.kernels = resident_->kernels();
    }
    const auto& model = *experiment_.model;
    trained_.digest = to_hex(weights_digest(named_parameters(model), named_buffers(model))) +
                      to_hex(weights_digest(parts_->optimizer_state(), {}));
    return trained_;
  }

  Config& config() { return experiment_.config; }
  const Model& model() const { return *experiment_.model; }
  const Placement& placement() const { return experiment_.placement; }
  Communicator& communicator() { return on_device_ ? *on_device_ : *host_; }
  std::int64_t kernels() const { return resident_ ? resident_->kernels() : 0; }

 private:
  Batch load() {
    auto batch = parts_->load(at_.epoch, at_.step);
    if (exact_) batch.x = batch.x.to(at::kDouble);
    return batch;
  }

  std::unique_ptr<Communicator> host_;
  Experiment experiment_;
  std::unique_ptr<Communicator> on_device_;  // nullptr where `host_` serves for the device as well
  bool exact_;
  std::unique_ptr<TrainingParts> eager_;  // empty where the resident step has them
  std::optional<ResidentStep> resident_;
  TrainingParts* parts_ = nullptr;
  Cursor at_;
  Trained trained_;
};

}  // namespace spankey::test
