#include "predict/open_network.h"

#include <utility>

#include "base/error.h"
#include "dist/on_all_ranks.h"
#include "keyring/model_file.h"
#include "train/loaded_run.h"

namespace spankey {
namespace {

OpenedNetwork open_file(const std::filesystem::path& path, Communicator& communicator) {
  std::vector<std::byte> bytes;
  on_all_ranks(communicator, [&] {
    if (communicator.rank() == 0) bytes = read_model_bytes(path);
  });
  bytes = communicator.broadcast_bytes(bytes, 0);
  return on_all_ranks(communicator, [&] {
    auto opened = open_model(bytes, path.string());
    return OpenedNetwork{std::move(opened.description), std::move(opened.model), std::move(opened.model_id),
                         opened.owner, opened.laboratory};
  });
}

OpenedNetwork open_run(const std::filesystem::path& path, const std::vector<std::string>& overrides,
                       Communicator& communicator) {
  auto network = load_network(RunDirectory{path}, overrides, communicator);
  return on_all_ranks(communicator, [&] {
    auto& experiment = network.experiment;
    experiment.model->eval();
    auto id = to_hex(weights_digest(*experiment.model));
    return OpenedNetwork{describe_experiment(experiment), experiment.model, std::move(id), std::nullopt,
                         !experiment.config.key.private_};
  });
}

}  // namespace

NetworkDescription describe_experiment(const Experiment& experiment) {
  const auto& info = experiment.dataset->info();
  return describe_network(experiment.config, {info.sample_shape, info.class_names, info.mean, info.std},
                          *experiment.model);
}

OpenedNetwork open_network(const std::filesystem::path& path, const std::vector<std::string>& overrides,
                           Communicator& communicator) {
  const bool folder = on_all_ranks(communicator, [&] {
    if (!std::filesystem::exists(path))
      fail_input("{}: no such model; accepted: a run directory or a model.skm", path.string());
    const bool is_folder = std::filesystem::is_directory(path);
    if (!is_folder && !overrides.empty())
      fail_input("{}: {} has no configuration to change; accepted: overrides for a run directory", overrides[0],
                 path.string());
    return is_folder;
  });
  return folder ? open_run(path, overrides, communicator) : open_file(path, communicator);
}

}  // namespace spankey
