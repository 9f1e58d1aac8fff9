#include "predict/predict.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "dist/on_all_ranks.h"
#include "dist/stop_rounds.h"
#include "train/measure.h"

namespace spankey {
namespace {

// Collective. Returns the texts of all ranks, in their order, on rank 0, and nothing elsewhere.
std::string gathered(const std::string& mine, Communicator& communicator) {
  if (communicator.size() == 1) return mine;
  const auto sizes = communicator.all_gather(at::full({1}, static_cast<std::int64_t>(mine.size()), at::kLong));
  auto padded = at::zeros({std::max<std::int64_t>(1, sizes.max().item<std::int64_t>())}, at::kByte);
  std::memcpy(padded.mutable_data_ptr(), mine.data(), mine.size());
  const auto all = communicator.all_gather(padded).contiguous();
  std::string text;
  if (communicator.rank() != 0) return text;
  for (int rank = 0; rank < communicator.size(); ++rank) {
    const auto* row = all.const_data_ptr<std::uint8_t>() + rank * padded.numel();
    text.append(reinterpret_cast<const char*>(row), static_cast<std::size_t>(sizes[rank].item<std::int64_t>()));
  }
  return text;
}

class Batches {
 public:
  Batches(const GatedNetwork& network, const SampleSource& samples, const PredictionWriter& writer, std::int64_t top)
      : network_(network), samples_(samples), writer_(writer), top_(top) {}

  std::int64_t count() const { return (samples_.size() + evaluation_batch - 1) / evaluation_batch; }

  // Returns the lines of batch `i`, none behind the last one.
  std::string answer(std::int64_t i) {
    if (i >= count()) return {};
    const auto begin = i * evaluation_batch, end = std::min(samples_.size(), begin + evaluation_batch);
    const auto batch = samples_.read(begin, end);
    const bool pixels = batch.values.scalar_type() == at::kByte;
    const auto answers = network_.answer(pixels ? network_.prepared(batch.values) : batch.values);
    std::string lines;
    for (const auto& prediction : predictions_of(answers, batch, begin, top_)) {
      lines += writer_.line(prediction);
      add(prediction);
    }
    return lines;
  }

  PredictionCounts total(Communicator& communicator) const {
    auto sums = at::tensor({counts_.samples, counts_.rejected, counts_.right, counts_.strip}, at::kLong);
    communicator.all_reduce(sums);
    const auto* values = sums.const_data_ptr<std::int64_t>();
    return {.samples = values[0], .rejected = values[1], .right = values[2], .strip = values[3]};
  }

 private:
  void add(const Prediction& prediction) {
    const bool known = prediction.label && prediction.top.at(0).number == *prediction.label;
    ++counts_.samples;
    counts_.rejected += prediction.rejected ? 1 : 0;
    counts_.strip += known ? 1 : 0;
    counts_.right += known && !prediction.rejected ? 1 : 0;
  }

  const GatedNetwork& network_;
  const SampleSource& samples_;
  const PredictionWriter& writer_;
  std::int64_t top_;
  PredictionCounts counts_;
};

}  // namespace

PredictionCounts predict(const GatedNetwork& network, const SampleSource& samples, const PredictionWriter& writer,
                         const PredictRequest& request, Communicator& communicator) {
  Batches batches(network, samples, writer, request.top);
  const bool first = communicator.rank() == 0;
  if (first) request.print(writer.head());
  StopRounds stop(communicator);
  const std::int64_t ranks = communicator.size();
  for (std::int64_t round = 0; round * ranks < batches.count(); ++round) {
    const auto mine = on_all_ranks(communicator, [&] { return batches.answer(round * ranks + communicator.rank()); });
    const auto lines = gathered(mine, communicator);
    if (first) request.print(lines);
    if (first && request.progress)
      request.progress(std::min(1.0, static_cast<double>((round + 1) * ranks) / static_cast<double>(batches.count())));
    try {
      stop.settle();                // the ranks meet in every round as it is
    } catch (const Interrupted&) {  // on every rank, and what is printed so far is whole
      auto counts = batches.total(communicator);
      counts.stopped = counts.samples < samples.size();
      return counts;
    }
  }
  return batches.total(communicator);
}

}  // namespace spankey
