#include "predict/prediction.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/text.h"
#include "page/document.h"

namespace spankey {
namespace {

std::string probability_text(float value) {
  return fmt::format("{:.4f}", value);
}

}  // namespace

std::vector<Prediction> predictions_of(const GatedAnswers& answers, const SampleBatch& batch, std::int64_t first,
                                       std::int64_t top) {
  const auto probabilities = answers.logits.softmax(1).contiguous();
  const auto classes = probabilities.size(1), count = std::min(top, classes);
  const auto* rejected = answers.rejected.const_data_ptr<bool>();
  const bool can_reject = answers.reject_probability.defined();
  std::vector<std::int64_t> order(static_cast<std::size_t>(classes));
  std::vector<Prediction> all;
  for (std::size_t i = 0; i < batch.names.size(); ++i) {
    const auto row = static_cast<std::int64_t>(i);
    Prediction one;
    one.index = first + row;
    one.name = batch.names[i];
    if (!batch.labels.empty()) one.label = batch.labels[i];
    one.rejected = rejected[i];
    if (can_reject) one.reject_probability = answers.reject_probability.const_data_ptr<float>()[i];
    std::iota(order.begin(), order.end(), 0);
    const auto* logits = answers.logits.const_data_ptr<float>() + row * classes;
    // The first one of equal logits comes first, as argmax has it.
    std::partial_sort(order.begin(), order.begin() + count, order.end(), [logits](std::int64_t a, std::int64_t b) {
      return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
    });
    for (std::int64_t k = 0; k < count; ++k) {
      const auto number = order[static_cast<std::size_t>(k)];
      one.top.push_back({number, probabilities.const_data_ptr<float>()[row * classes + number]});
    }
    all.push_back(std::move(one));
  }
  return all;
}

std::string PredictionWriter::head() const {
  if (format_ != PredictionFormat::csv) return {};
  std::vector<std::string> fields{"index", "name", "answer", "rejected", "reject_probability"};
  for (std::int64_t k = 1; k <= std::min(top_, network_.classes); ++k) {
    fields.push_back(fmt::format("class_{}", k));
    fields.push_back(fmt::format("probability_{}", k));
  }
  if (labels_) fields.emplace_back("label");
  return csv_line(fields);
}

std::string PredictionWriter::line(const Prediction& prediction) const {
  switch (format_) {
    case PredictionFormat::json:
      return json_line(prediction);
    case PredictionFormat::csv:
      return csv_fields(prediction);
    case PredictionFormat::text:
      break;
  }
  return text_line(prediction);
}

std::string PredictionWriter::answer(const Prediction& prediction) const {
  return prediction.rejected ? "reject" : network_.class_name(prediction.top.at(0).number);
}

std::string PredictionWriter::text_line(const Prediction& prediction) const {
  // The name of a file may hold line breaks and what a terminal obeys.
  auto text = fmt::format("{}  {}", escaped(prediction.name), answer(prediction));
  if (prediction.rejected && prediction.reject_probability)
    text += ' ' + probability_text(*prediction.reject_probability);
  text += "  |";
  for (const auto& one : prediction.top)
    text += fmt::format(" {} {}", network_.class_name(one.number), probability_text(one.probability));
  return text + '\n';
}

std::string PredictionWriter::json_line(const Prediction& prediction) const {
  const auto rounded = [](float value) { return nlohmann::ordered_json::parse(probability_text(value)); };
  auto top = nlohmann::ordered_json::array();
  for (const auto& one : prediction.top)
    top.push_back(
        {{"class", one.number}, {"name", network_.class_name(one.number)}, {"probability", rounded(one.probability)}});
  nlohmann::ordered_json json{{"index", prediction.index},
                              {"name", prediction.name},
                              {"answer", answer(prediction)},
                              {"rejected", prediction.rejected}};
  if (prediction.reject_probability) json["reject_probability"] = rounded(*prediction.reject_probability);
  json["top"] = std::move(top);
  if (prediction.label) json["label"] = *prediction.label;
  return json.dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::ordered_json::error_handler_t::replace) + '\n';
}

std::string PredictionWriter::csv_fields(const Prediction& prediction) const {
  std::vector<std::string> fields{
      std::to_string(prediction.index), prediction.name, answer(prediction), prediction.rejected ? "1" : "0",
      prediction.reject_probability ? probability_text(*prediction.reject_probability) : std::string()};
  for (const auto& one : prediction.top) {
    fields.push_back(network_.class_name(one.number));
    fields.push_back(probability_text(one.probability));
  }
  if (labels_) fields.push_back(prediction.label ? std::to_string(*prediction.label) : std::string());
  return csv_line(fields);
}

}  // namespace spankey
