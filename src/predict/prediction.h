// The answer to one sample, and its forms.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "predict/samples.h"
#include "runtime/gated_network.h"

namespace spankey {

enum class PredictionFormat { text, json, csv };

struct Prediction {
  struct Class {
    std::int64_t number = 0;
    float probability = 0;  // softmax over the class logits, the reject output left out
  };
  std::int64_t index = 0;  // among all samples
  std::string name;
  std::optional<std::int64_t> label;
  bool rejected = false;
  std::optional<float> reject_probability;  // none where the network cannot reject
  std::vector<Class> top;                   // the most probable classes, best first, at least one
};

// `first` is the index of the first sample of the batch, `top` how many classes are kept.
std::vector<Prediction> predictions_of(const GatedAnswers& answers, const SampleBatch& batch, std::int64_t first,
                                       std::int64_t top);

class PredictionWriter {
 public:
  // Keeps a reference to `network`. `labels` says that the samples have some.
  PredictionWriter(PredictionFormat format, std::int64_t top, bool labels, const NetworkDescription& network)
      : format_(format), top_(top), labels_(labels), network_(network) {}

  std::string head() const;                              // the first line of CSV, otherwise empty
  std::string line(const Prediction& prediction) const;  // with its line break

 private:
  std::string answer(const Prediction& prediction) const;
  std::string text_line(const Prediction& prediction) const;
  std::string json_line(const Prediction& prediction) const;
  std::string csv_fields(const Prediction& prediction) const;

  PredictionFormat format_;
  std::int64_t top_;
  bool labels_;
  const NetworkDescription& network_;
};

}  // namespace spankey
