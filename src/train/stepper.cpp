#include "train/stepper.h"

#include "base/log.h"
#include "dist/on_all_ranks.h"
#include "train/resident_step.h"

namespace spankey {
namespace {

// The host makes batch and keys of each step, and reads the figures at the end of the step.
class HostStep final : public Stepper {
 public:
  HostStep(std::unique_ptr<TrainingParts> parts, Communicator& communicator)
      : Stepper(std::move(parts), communicator) {}

  std::vector<StepFigures> step(const Cursor& cursor, double lr, const StopWish& wants_stop) override {
    const auto batch = parts_->load(cursor.epoch, cursor.step);
    begin_step(cursor);
    return {parts_->step(batch, cursor, lr, wants_stop())};
  }
};

}  // namespace

void Stepper::begin_step(const Cursor& cursor) {
  communicator_.begin_step(fmt::format("epoch {}, step {}", cursor.epoch + 1, cursor.step));
}

std::unique_ptr<Stepper> make_stepper(const Experiment& experiment, const Basis& basis, std::int64_t shards,
                                      Communicator& communicator) {
  const auto make_parts = [&] { return std::make_unique<TrainingParts>(experiment, basis, shards, communicator); };
  if (!wants_resident(experiment)) return std::make_unique<HostStep>(make_parts(), communicator);
  if (const auto why_not = resident_why_not(experiment, communicator)) {
    on_all_ranks(communicator, [&] { require_capture(experiment, communicator); });
    log::info("step by step, with keys and batches from the host: {}", *why_not);
    return std::make_unique<HostStep>(make_parts(), communicator);
  }
  std::unique_ptr<Stepper> stepper;
  auto graph = make_graph(experiment.placement);
  graph->use([&] {
    auto parts = make_parts();
    auto source = make_resident_source(experiment, parts->keys());
    stepper = std::make_unique<ResidentStep>(std::move(parts), std::move(source), std::move(graph), communicator);
  });
  return stepper;
}

}  // namespace spankey
