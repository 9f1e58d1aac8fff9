#include "runtime/gated_network.h"

#include <ATen/ATen.h>

#include <cstring>
#include <utility>

#include "base/error.h"
#include "data/normalisation.h"

namespace spankey {

GatedNetwork::GatedNetwork(NetworkDescription description, std::shared_ptr<Model> model, at::Device device)
    : description_(std::move(description)), model_(std::move(model)), device_(device) {
  model_->move_to(device_);
  model_->eval();
  if (description_.is_images()) table_ = normalisation_table(description_.mean, description_.std);
}

void GatedNetwork::use_key(const std::vector<KeySite>& sites, std::span<const float> vectors, const std::string& name) {
  if (sites.empty() || sites != description_.sites)
    fail_input("{}: the key is for other injection points or widths than those of this network", name);
  SPANKEY_CHECK_EQ(std::ssize(vectors), key_elements(sites));
  std::vector<std::int64_t> points;
  std::vector<at::Tensor> keys;
  for (const auto& site : sites) {
    auto key = secret_matrix(1, site.width);
    const auto width = static_cast<std::size_t>(site.width);
    std::memcpy(key.mutable_data_ptr(), vectors.data(), width * sizeof(float));
    vectors = vectors.subspan(width);
    points.push_back(site.point);
    keys.push_back(std::move(key));
  }
  keys = at_trained_strength(description_, std::move(keys));
  for (auto& key : keys) key = key.to(device_);
  injection_ = Injection::of_keys(points, std::move(keys), description_.kind);
}

at::Tensor GatedNetwork::prepared(const at::Tensor& pixels) const {
  return normalised(pixels, table_);
}

GatedAnswers GatedNetwork::answer(const at::Tensor& x) const {
  const at::NoGradGuard no_grad;
  const auto output = model_->forward(x.to(device_), injection_);
  const auto all = output.logits.to(at::kCPU);
  GatedAnswers answers{.logits = all.narrow(1, 0, description_.classes).contiguous(),
                       .rejected = at::zeros({all.size(0)}, at::kBool),
                       .reject_probability = {}};
  if (description_.reject() == RejectKind::reject_class) {
    answers.rejected = all.argmax(1).eq(description_.classes);
    answers.reject_probability = all.softmax(1).select(1, description_.classes).contiguous();
  } else if (description_.reject() == RejectKind::reject_head) {
    const auto probability = output.reject.to(at::kCPU).to(at::kDouble).sigmoid();
    answers.rejected = probability.gt(0.5);
    answers.reject_probability = probability.to(at::kFloat);
  }
  return answers;
}

}  // namespace spankey
