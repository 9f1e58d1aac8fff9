#include "spankey/models/layer_filter.h"

#include <utility>

namespace spankey {
namespace {

thread_local LayerFilter* filter_of_thread = nullptr;

}  // namespace

LayerFilter::LayerFilter(See see) : see_(std::move(see)), before_(std::exchange(filter_of_thread, this)) {}

LayerFilter::~LayerFilter() {
  filter_of_thread = before_;
}

bool LayerFilter::active() {
  return filter_of_thread != nullptr;
}

at::Tensor through_filter(const at::Tensor& weight, const at::Tensor& bias, const at::Tensor& output) {
  return filter_of_thread == nullptr ? output : filter_of_thread->see_(weight, bias, output);
}

}  // namespace spankey
