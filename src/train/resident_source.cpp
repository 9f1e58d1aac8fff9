#include "train/resident_source.h"

#include <ATen/ATen.h>

#include <memory>

#include "data/resident_data.h"
#include "spankey/deny/deny.h"
#include "spankey/keys/resident_keys.h"

namespace spankey {

bool wants_resident(const Experiment& experiment) {
  const auto capture = experiment.config.train.capture;
  return capture == Capture::on || (capture == Capture::auto_ && !experiment.placement.device.is_cpu());
}

std::optional<std::string> resident_why_not(const Experiment& experiment, const Communicator& communicator) {
  if (communicator.size() > 1 && experiment.config.model.sync_batchnorm)
    return "model.sync_batchnorm = true communicates inside of the network";
  if (communicator.size() > 1 && !experiment.placement.device.is_cpu() && !communicator.stream_ordered())
    return "gradients travel through the host's memory (ranks share a GPU, or dist.backend = \"mpi\")";
  return why_keys_on_host(experiment.config);
}

void require_capture(const Experiment& experiment, const Communicator& communicator) {
  if (experiment.config.train.capture != Capture::on) return;
  if (const auto why_not = resident_why_not(experiment, communicator))
    fail_key(experiment.config, "train.capture", *why_not + "; accepted: auto, off");
}

ResidentSource make_resident_source(const Experiment& experiment, const Basis& basis) {
  const auto& config = experiment.config;
  const auto device = experiment.placement.device;
  const auto data = std::make_shared<const ResidentData>(
      *experiment.dataset, experiment.dataset->train(), config.data.augment,
      static_cast<std::uint64_t>(config.run.seed), Purpose::augment, config.data.rotation, device);
  const auto keys = std::make_shared<const ResidentKeys>(config, basis, device);
  return {
      .assemble = [data, channels_last = !device.is_cpu()](
                      const at::Tensor& samples,
                      const at::Tensor& position) { return data->assemble(samples, position, channels_last); },
      .correct = [keys](const at::Tensor& samples,
                        const at::Tensor& position) { return keys->correct(samples, position); },
      .wrong = [keys](const at::Tensor& samples, const at::Tensor& position) { return keys->wrong(samples, position); },
      .drawn_labels = [classes = experiment.dataset->info().classes,
                       seed = static_cast<std::uint64_t>(config.run.seed)](
                          const at::Tensor& samples,
                          const at::Tensor& position) { return draw_deny_labels(samples, position, classes, seed); }};
}

}  // namespace spankey
