#include "train/trainer.h"

#include <ATen/Parallel.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "base/lease.h"
#include "base/log.h"
#include "base/shutdown.h"
#include "base/version.h"
#include "dist/on_all_ranks.h"
#include "dist/stop_rounds.h"
#include "record/attack_record.h"
#include "record/early_stop.h"
#include "record/result.h"
#include "train/checkpoint_writer.h"
#include "train/coordinator.h"
#include "train/evaluator.h"
#include "train/experiment.h"
#include "train/metrics.h"
#include "train/resources.h"
#include "train/resume.h"
#include "train/schedule.h"
#include "train/stepper.h"
#include "train/stop_watch.h"

namespace spankey {
namespace {

constexpr std::int64_t progress_keys = 1;  // keys of the evaluations before the last one

class Trainer {
 public:
  Trainer(const TrainRequest& request, const Experiment& experiment, const RunDirectory& directory, std::int64_t shards,
          const std::optional<Checkpoint>& checkpoint, const Lease* lease, Communicator& communicator);
  ExitCode run();

 private:
  void restore(const Checkpoint& checkpoint);
  void log_saturation() const;
  void take_step();
  [[noreturn]] void fail_not_finite(const StepFigures& figures, std::int64_t step);
  void report_step(const StepFigures& figures);
  void finish_epoch();
  bool evaluation_due() const;
  void catch_up_on_evaluation();
  bool is_over() const { return cursor_.epoch >= config_.train.epochs || stopped_early_; }
  bool pauses_here() const;
  ExitCode pause();
  void evaluate_epoch();
  void consider_stopping(const nlohmann::json& evaluation);
  void recalibrate();
  AccessReport evaluate(const EvaluationRequest& request);
  EvaluationRequest progress_request() const;
  void audit_by_checksum();
  void save_checkpoint();
  void require_sane();
  std::string newest_checkpoint() const;
  void write_result();
  ExitCode stop(const std::string& where);
  bool is_root() const { return communicator_.rank() == 0; }
  TrainingParts& parts() const { return stepper_->parts(); }
  // The rate of a step of this epoch.
  double lr(std::int64_t step) const {
    return learning_rate(config_.optim, {cursor_.epoch, config_.train.epochs, step, parts().steps_per_epoch()});
  }

  const Config& config_;
  const Experiment& experiment_;
  const RunDirectory& directory_;
  const Lease* lease_;  // rank 0
  const bool print_result_;
  const std::int64_t pause_epochs_;
  Communicator& communicator_;
  Cursor cursor_;
  double earlier_seconds_ = 0.0;   // of training in attempts before this one
  std::int64_t saved_at_ = -1;     // global step of the last checkpoint
  std::int64_t audited_at_ = -1;   // of the last audit by checksum
  std::int64_t steps_before_ = 0;  // taken by attempts before this one
  bool stop_agreed_ = false;
  bool recalibrating_ = false;
  bool stopped_early_ = false;
  StopWatch stop_watch_;

  Coordinator coordinator_;
  Basis basis_;
  std::unique_ptr<Stepper> stepper_;
  Evaluator evaluator_;
  EarlyStop early_stop_;  // it is rank 0 that looks at evaluations
  StepClock clock_;
  ProgressBar progress_;
  std::optional<MetricsLog> metrics_;            // rank 0
  std::optional<CheckpointWriter> checkpoints_;  // rank 0
};

Trainer::Trainer(const TrainRequest& request, const Experiment& experiment, const RunDirectory& directory,
                 std::int64_t shards, const std::optional<Checkpoint>& checkpoint, const Lease* lease,
                 Communicator& communicator)
    : config_(experiment.config),
      experiment_(experiment),
      directory_(directory),
      lease_(lease),
      print_result_(request.print_result),
      pause_epochs_(request.pause_epochs),
      communicator_(communicator),
      stop_watch_(config_.train.max_seconds),
      coordinator_(experiment, communicator),
      basis_(coordinator_.obtain_basis(directory, checkpoint ? checkpoint->basis_digest : std::string(),
                                       /*check_origin=*/!checkpoint || request.allow_change)),
      stepper_(make_stepper(experiment, basis_, shards, communicator)),
      evaluator_(experiment, parts().keys(), communicator),
      early_stop_(config_) {
  if (checkpoint) on_all_ranks(communicator, [&] { restore(*checkpoint); });
  coordinator_.audit(basis_, cursor_);
  on_all_ranks(communicator, [&] {
    evaluator_.require_possible(evaluator_.request(config_.eval.keys, config_.eval.train));
    if (!is_root()) return;
    require_room(directory_.checkpoints(),
                 {named_parameters(*experiment_.model), named_buffers(*experiment_.model), parts().optimizer_state()});
    lease_->require();
    stop_watch_.watch(*lease_, [this] { return checkpoints_->last_seconds(); });
    write_durably(directory_.config(), to_toml(config_));
    std::filesystem::remove(directory_.result());
    std::optional<EventFile> events;
    if (config_.run.tensorboard) events.emplace(directory_.events(), config_);
    metrics_.emplace(directory_.metrics(), cursor_.global_step, std::move(events));
    checkpoints_.emplace(directory_.checkpoints(), config_.checkpoint.keep, config_.checkpoint.async, [this] {
      metrics_->flush();  // otherwise a run that goes on from here would lack the lines before it
      lease_->require();
    });
  });
}

// An average that began in the middle of a run would be another one than that of an undisturbed run.
void require_same_average(const Checkpoint& checkpoint, const Config& config) {
  const bool has = std::any_of(checkpoint.optimizer.begin(), checkpoint.optimizer.end(),
                               [](const NamedTensor& tensor) { return tensor.name.starts_with(average_prefix); });
  if (has == (config.train.ema_decay > 0.0)) return;
  fail_key(config, "train.ema_decay",
           has ? "the run averages its weights; accepted: a number > 0, or another --run-dir"
               : "the run does not average its weights; accepted: 0.0, or another --run-dir");
}

void Trainer::restore(const Checkpoint& checkpoint) {
  restore_tensors(checkpoint.parameters, named_parameters(*experiment_.model), "parameters");
  restore_tensors(checkpoint.buffers, named_buffers(*experiment_.model), "buffers");
  require_same_average(checkpoint, config_);
  restore_tensors(checkpoint.optimizer, parts().optimizer_state(), "optimizer");
  parts().optimizer().set_steps(checkpoint.cursor.global_step);
  const auto [cursor, told] = continuation_of(checkpoint, experiment_, parts().steps_per_epoch());
  if (is_root() && !told.empty()) log::warning("{}", told);
  cursor_ = cursor;
  saved_at_ = steps_before_ = cursor_.global_step;
  earlier_seconds_ = checkpoint.train_seconds;
  if (checkpoint.early_stop) early_stop_.restore(*checkpoint.early_stop);
}

void Trainer::log_saturation() const {
  const auto& keys = parts().keys();
  if (const auto cut = keys.saturation(keys.evaluation_correct(0, 1)))
    log::info(
        "a correct key multiplies each activation by a factor; {:.1f} % of these lie at the lower bound (0.1), "
        "{:.1f} % at the upper one (2), where a stronger key changes nothing",
        100 * cut->low, 100 * cut->high);
}

ExitCode Trainer::run() {
  if (is_root()) {
    tell_classes(experiment_);
    log_saturation();
  }
  experiment_.model->train();
  try {
    if (cursor_.step == parts().steps_per_epoch()) {
      saved_at_ = -1;  // what is saved now is more than the checkpoint had
      finish_epoch();
    } else {
      catch_up_on_evaluation();
    }
    while (!is_over()) {
      if (pauses_here()) return pause();
      take_step();
      const auto audit = config_.dist.audit_every_steps;
      if (audit > 0 && cursor_.global_step % audit == 0) {
        audit_by_checksum();
        log::debug("audit passed at step {}", cursor_.global_step);
      }
      if (cursor_.step == parts().steps_per_epoch()) finish_epoch();
      const auto every = config_.checkpoint.every_steps;
      if (every > 0 && cursor_.global_step % every == 0) save_checkpoint();
      if (stop_agreed_ && !is_over())
        return stop(fmt::format("after epoch {}, step {}", cursor_.epoch + 1, cursor_.step));
    }
    write_result();
  } catch (const Interrupted&) {
    return stop(recalibrating_ ? std::string("in the recalibration of BatchNorm")
                               : fmt::format("in the evaluation after epoch {}", cursor_.epoch));
  }
  return ExitCode::done;
}

void Trainer::take_step() {
  clock_.start();
  const auto known = stepper_->step(cursor_, lr(cursor_.step), [this] { return stop_watch_.should_stop(); });
  ++cursor_.step;
  ++cursor_.global_step;
  if (known.empty()) return;
  std::int64_t samples = 0, step = cursor_.step - std::ssize(known);
  for (const auto& figures : known) samples += figures.samples;
  clock_.stop(samples, std::ssize(known));
  for (const auto& figures : known) {
    if (!figures.finite) fail_not_finite(figures, step);
    ++step;
  }
  stop_agreed_ = known.back().stop_requested;
  report_step(known.back());
}

void Trainer::fail_not_finite(const StepFigures& figures, std::int64_t step) {
  const auto samples = parts().sampler().global_batch(cursor_.epoch, step);
  if (const auto sample = experiment_.dataset->first_not_finite(experiment_.dataset->train(), samples))
    throw AgreedError(ExitCode::bad_input,
                      is_root()
                          ? fmt::format("epoch {}, step {}: the loss is not finite because the data are not: sample "
                                        "{} of the training split of {}; accepted: finite features",
                                        cursor_.epoch + 1, step, *sample, config_.data.file)
                          : std::string());
  throw AgreedError(
      ExitCode::run_failed,
      is_root()
          ? fmt::format("epoch {}, step {}: loss or gradient is not finite (loss {}); {}; a smaller optim.lr or an "
                        "optim.clip_norm may help",
                        cursor_.epoch + 1, step, figures.loss, newest_checkpoint())
          : std::string());
}

std::string Trainer::newest_checkpoint() const {
  if (saved_at_ < 0) return "there is no checkpoint yet";
  return fmt::format("the last checkpoint in {} is from before it", directory_.checkpoints().string());
}

void Trainer::report_step(const StepFigures& figures) {
  if (!is_root() || (cursor_.global_step % metrics_every_steps != 0 && cursor_.step != parts().steps_per_epoch()))
    return;
  const auto times = clock_.take();
  const auto done = cursor_.global_step - steps_before_;
  const auto left = (config_.train.epochs - cursor_.epoch) * parts().steps_per_epoch() - cursor_.step;
  metrics_->write({{"kind", "step"},
                   {"global_step", cursor_.global_step},
                   {"step", cursor_.step},
                   {"steps_per_epoch", parts().steps_per_epoch()},
                   {"epoch", cursor_.epoch},
                   {"loss", figures.loss},
                   {"ce", figures.ce},
                   {"deny", figures.deny},
                   {"lr", lr(cursor_.step - 1)},
                   {"samples_per_second", times.samples_per_second},
                   {"step_ms_p50", 1e3 * times.p50_seconds},
                   {"step_ms_p99", 1e3 * times.p99_seconds}});
  progress_.show({.epoch = cursor_.epoch,
                  .epochs = config_.train.epochs,
                  .step = cursor_.step,
                  .steps = parts().steps_per_epoch(),
                  .loss = figures.loss,
                  .ce = figures.ce,
                  .deny = figures.deny,
                  .samples_per_second = times.samples_per_second,
                  .seconds_left = stop_watch_.seconds_left(done, left)});
}

// The checkpoint comes before the evaluation, which may be long, so that a stop or a kill in it costs no training. A
// run that goes on from that checkpoint makes up for the evaluation, so that metrics.jsonl never lacks a line.
void Trainer::finish_epoch() {
  // A run that stops in here goes on from a checkpoint with all steps of the epoch, and begins the recalibration again.
  if (cursor_.epoch + 1 == config_.train.epochs) recalibrate();
  cursor_ = {cursor_.epoch + 1, 0, cursor_.global_step};
  save_checkpoint();
  if (evaluation_due() && !stop_agreed_) evaluate_epoch();
}

// The last thing that training does.
void Trainer::recalibrate() {
  if (config_.model.batchnorm != BatchNorm::recalibrate_ok) return;
  recalibrating_ = true;
  communicator_.set_place("recalibration of BatchNorm");
  StopRounds stop(communicator_, [this] { return stop_watch_.stop_signal(); });
  parts().recalibrate(cursor_.step > 0 ? cursor_.epoch + 1 : cursor_.epoch, [&] { stop.next(); });
  recalibrating_ = false;
}

// True at the end of an epoch that is evaluated. The last one has the evaluation of the result.
bool Trainer::evaluation_due() const {
  if (cursor_.step != 0 || cursor_.epoch == 0 || cursor_.epoch >= config_.train.epochs) return false;
  const auto every = config_.eval.every_epochs;
  return pauses_here() || (every > 0 && cursor_.epoch % every == 0);
}

bool Trainer::pauses_here() const {
  return pause_epochs_ > 0 && cursor_.step == 0 && cursor_.epoch >= pause_epochs_;
}

// Collective. The last checkpoint is that of this epoch's end, and its evaluation is among the metrics.
ExitCode Trainer::pause() {
  on_all_ranks(communicator_, [&] {
    if (!is_root()) return;
    checkpoints_->finish();
    metrics_->flush();
    progress_.finish_line();
    log::info("paused as asked after epoch {}: the checkpoint is committed, start again without the pause to go on",
              cursor_.epoch);
  });
  return ExitCode::done;
}

// Collective. An attempt before this one may have ended between the checkpoint of an epoch and its evaluation, or
// between that and the end of the run.
void Trainer::catch_up_on_evaluation() {
  if (!evaluation_due()) return;
  const auto evaluation = is_root() ? metrics_->evaluation_after(cursor_.global_step) : nlohmann::json();
  auto owes = at::full({1}, is_root() && evaluation.is_null() ? 1 : 0, at::kLong);
  communicator_.broadcast(owes, 0);
  if (owes.item<std::int64_t>() != 0)
    evaluate_epoch();
  else
    consider_stopping(evaluation);
}

// Collective. Rank 0 looks at the evaluation after an epoch and decides for all. A run that stops saves its checkpoint
// again, with what has been decided and the statistics that a last epoch has. Evaluations that only a pause asks for do
// not count, so that a run that pauses ends as one that does not.
void Trainer::consider_stopping(const nlohmann::json& evaluation) {
  if (!early_stop_.on() || cursor_.epoch % config_.eval.every_epochs != 0) return;
  if (is_root()) early_stop_.observe(cursor_.epoch, evaluation);
  auto stops = at::full({1}, is_root() && early_stop_.stops() ? 1 : 0, at::kLong);
  communicator_.broadcast(stops, 0);
  if (stops.item<std::int64_t>() == 0) return;
  recalibrate();
  saved_at_ = audited_at_ = -1;
  save_checkpoint();
  stopped_early_ = true;
  if (is_root()) log::info("stops early after epoch {}: {}", cursor_.epoch, early_stop_.reason());
}

EvaluationRequest Trainer::progress_request() const {
  return evaluator_.request(config_.eval.keys == 0 ? 0 : progress_keys, /*with_train_split=*/false);
}

void Trainer::evaluate_epoch() {
  auto line = [&] {
    const WithAveragedWeights published(parts().average());
    return to_json(evaluate(progress_request()));
  }();
  line["kind"] = "eval";
  line["epoch"] = cursor_.epoch - 1;
  line["global_step"] = cursor_.global_step;
  if (is_root()) metrics_->write(line);
  consider_stopping(line);
}

// All of training is saved by then, so a requested stop takes effect between two batches. train.max_seconds does not
// count here, because an evaluation that is begun again each time might never fit into it.
AccessReport Trainer::evaluate(const EvaluationRequest& wanted) {
  const auto where = fmt::format("evaluation after epoch {}", cursor_.epoch);
  communicator_.set_place(where);
  auto request = wanted;
  request.stop_wish = [this] { return stop_watch_.stop_signal(); };
  if (is_root()) request.progress = [&](double share) { progress_.show_share(where, share); };
  return evaluator_.evaluate(request);
}

// Collective. Refuses figures from which no training recovers. With a checkpoint of them every restart would fail as
// this run does.
void Trainer::require_sane() {
  // A trained network has logits below a hundred. This limit leaves room for their squares in float32.
  constexpr double absurd_logit = 1e8;
  on_all_ranks(communicator_, [&] {
    if (!is_root()) return;
    const auto finite = [](const std::vector<NamedTensor>& tensors) {
      return std::all_of(tensors.begin(), tensors.end(), [](const NamedTensor& tensor) {
        return !at::isFloatingType(tensor.value.scalar_type()) || tensor.value.numel() == 0 ||
               std::isfinite(tensor.value.detach().abs().max().item<double>());
      });
    };
    const bool all_finite = finite(named_parameters(*experiment_.model)) && finite(named_buffers(*experiment_.model)) &&
                            finite(parts().optimizer_state());
    const double logit = all_finite ? evaluator_.largest_logit() : 0.0;
    if (all_finite && logit <= absurd_logit) return;
    fail_run(
        "epoch {}, step {}: the weights have exploded ({}) and are not saved; {}; a smaller optim.lr or an "
        "optim.clip_norm may help",
        cursor_.epoch + 1, cursor_.step,
        all_finite ? fmt::format("logits of {:.0e}", logit) : "they or the optimiser's state are not finite",
        newest_checkpoint());
  });
}

// Called once a step, on all ranks.
void Trainer::audit_by_checksum() {
  if (std::exchange(audited_at_, cursor_.global_step) == cursor_.global_step) return;
  coordinator_.audit_by_checksum(basis_, cursor_);
}

void Trainer::save_checkpoint() {
  if (saved_at_ == cursor_.global_step) return;
  audit_by_checksum();  // ranks that differ leave no checkpoint
  if (communicator_.local_rank() == 0) experiment_.dataset->require_unchanged();
  communicator_.set_place(fmt::format("the checkpoint of epoch {}, step {}", cursor_.epoch + 1, cursor_.step));
  require_sane();
  saved_at_ = cursor_.global_step;
  if (!is_root()) return;
  checkpoints_->save(snapshot({.cursor = cursor_,
                               .config_toml = to_toml(config_),
                               .config_hash = experiment_.hash,
                               .basis_digest = to_hex(basis_digest(basis_)),
                               .data_digest = experiment_.dataset->info().digest,
                               .program = program_version(),
                               .computed_on = computed_on(experiment_, communicator_.size()),
                               .train_seconds = earlier_seconds_ + clock_.total_seconds(),
                               .parameters = named_parameters(*experiment_.model),
                               .buffers = named_buffers(*experiment_.model),
                               .optimizer = parts().optimizer_state(),
                               .early_stop = early_stop_.on() ? std::optional(early_stop_.state()) : std::nullopt}));
}

// The marker is removed only once the checkpoint is committed. The barrier keeps a rank from ending first and taking
// the others with it.
ExitCode Trainer::stop(const std::string& where) {
  save_checkpoint();
  on_all_ranks(communicator_, [&] {
    if (!is_root()) return;
    checkpoints_->finish();
    metrics_->flush();
    std::error_code failed;
    std::filesystem::remove(directory_.stop_marker(), failed);
    progress_.finish_line();
    if (failed)
      log::warning("{} could not be removed ({}): the next attempt would stop at once",
                   directory_.stop_marker().string(), failed.message());
    log::info("stopped as asked {}: the checkpoint is committed, start again to go on", where);
  });
  return ExitCode::requeue;
}

void Trainer::write_result() {
  on_all_ranks(communicator_, [&] {
    if (is_root()) checkpoints_->finish();
  });
  const WithAveragedWeights published(parts().average());
  const auto report = evaluate(evaluator_.request(config_.eval.keys, config_.eval.train));
  coordinator_.audit(basis_, cursor_);
  on_all_ranks(communicator_, [&] {
    if (!is_root()) return;
    lease_->require();
    const double seconds = earlier_seconds_ + clock_.total_seconds();
    auto result = to_json(report);
    result["config_hash"] = experiment_.hash;
    result["data_digest"] = experiment_.dataset->info().digest;
    result["basis_digest"] = to_hex(basis_digest(basis_));
    result["weights_sha256"] = to_hex(weights_digest(*experiment_.model));
    if (!config_.train.init_digest.empty()) result["init_digest"] = config_.train.init_digest;
    if (stopped_early_) result["early_stop"] = early_stop_.record();
    result["steps"] = cursor_.global_step;
    result["epochs"] = cursor_.epoch;
    result["ranks"] = communicator_.size();
    result["device"] = experiment_.placement.name;
    result["threads"] = at::get_num_threads();
    result["seconds_total"] = seconds;
    result["seconds_per_epoch"] = seconds / static_cast<double>(cursor_.epoch);
    add_origin(result, metrics_->started_at());
    auto line = to_json(report);
    line["kind"] = "result";
    if (stopped_early_) line["early_stop"] = early_stop_.record();
    line["epoch"] = cursor_.epoch - 1;
    line["global_step"] = cursor_.global_step;
    metrics_->write(line);
    metrics_->flush();
    write_durably(directory_.result(),
                  result.dump(2, ' ', /*ensure_ascii=*/false, nlohmann::json::error_handler_t::replace) + "\n");
    progress_.finish_line();
    if (!print_result_) return;
    fmt::print("\n{}", access_table(result));
    fmt::print("run: {}\n", directory_.root.string());
  });
}

// A new run whose configuration names its initial weights needs them.
void require_initial_weights(const TrainRequest& request, const Experiment& experiment) {
  if (request.init || experiment.config.train.init_digest.empty()) return;
  fail_key(experiment.config, "train.init_digest",
           "accepted for a new run: with --init FILE, which holds these weights");
}

// Collective. True where a request came in while data were read and checked.
bool stop_before_training(Communicator& communicator) {
  try {
    StopRounds(communicator).settle();
    return false;
  } catch (const Interrupted&) {
    log::info("stopped as asked before the first step of this attempt: nothing is lost, start again to go on");
    return true;
  }
}

}  // namespace

ExitCode train(const TrainRequest& request, Communicator& host) {
  const auto threads = resolve_threads(request.config, host.node_size());
  at::set_num_threads(threads);
  const auto placement = place(request.config, host);
  const auto device_communicator = make_device_communicator(request.config, placement, host);
  auto& communicator = device_communicator ? *device_communicator : host;
  const auto dataset = open_data(request.config.data, communicator);
  auto experiment = on_all_ranks(
      communicator, [&] { return make_experiment(request.config, placement, dataset, request.init.get()); });
  experiment.retired = request.retired;
  const auto shards = on_all_ranks(communicator, [&] {
    require_full_batches(experiment, communicator.size());
    return resolve_shards(experiment.config, communicator.size());
  });

  RunDirectory directory{request.run_directory};
  if (directory.root.empty()) directory.root = default_run_directory(request.config_file, experiment.hash);
  std::optional<Lease> lease;
  on_all_ranks(communicator, [&] {
    if (communicator.rank() != 0) return;
    directory.create();
    lease.emplace(directory.root);
    lease->watch(directory.stop_marker());
    directory.remove_litter();
  });
  log::add_file(directory.log());

  const auto resume = find_resume_point(request, experiment, directory, communicator);
  if (resume.finished) {
    if (communicator.rank() == 0 && request.print_result) {
      auto result = read_result(directory.result(), experiment.config);
      count_attacks(result, directory);
      fmt::print("{} is finished; its result:\n\n{}", directory.root.string(), access_table(result));
    }
    return ExitCode::done;
  }
  if (!resume.checkpoint) on_all_ranks(communicator, [&] { require_initial_weights(request, experiment); });
  if (stop_before_training(communicator)) return ExitCode::requeue;
  log::info("model {} on {}, {} ranks, {} shards, {} threads a rank, run directory {}", experiment.config.model.name,
            placement.name, communicator.size(), shards, threads, directory.root.string());
  return Trainer(request, experiment, directory, shards, resume.checkpoint, lease ? &*lease : nullptr, communicator)
      .run();
}

}  // namespace spankey
