#include <ATen/ATen.h>
#include <spankey/runtime.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/secret.h"
#include "keyring/model_file.h"
#include "keyring/recipient.h"
#include "keyring/secret_file.h"
#include "runtime/admit_key.h"
#include "runtime/gated_network.h"

namespace spankey::runtime {
namespace {

// Errors of the house and of LibTorch become those of the header. LibTorch's messages have several lines.
template <class Work>
auto translated(Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const spankey::Error& error) {
    throw Error(error.what());
  } catch (const c10::Error& error) {
    throw Error(error.what_without_backtrace());
  }
}

std::int64_t now() {
  using std::chrono::system_clock;
  return std::chrono::duration_cast<std::chrono::seconds>(system_clock::now().time_since_epoch()).count();
}

ModelInfo info_of(const OpenedModel& opened) {
  const auto& d = opened.description;
  ModelInfo info{.id = opened.model_id,
                 .network = d.network,
                 .owner = hex_text(opened.owner),
                 .sample_shape = d.sample_shape,
                 .classes = {},
                 .takes_images = d.is_images(),
                 .takes_keys = !d.sites.empty(),
                 .can_reject = d.reject() != RejectKind::none,
                 .laboratory = opened.laboratory};
  for (std::int64_t c = 0; c < d.classes; ++c) info.classes.push_back(d.class_name(c));
  return info;
}

template <class T>
std::vector<T> values_of(const at::Tensor& tensor) {
  if (!tensor.defined()) return {};
  const auto flat = tensor.contiguous();
  const auto* first = static_cast<const T*>(flat.const_data_ptr());
  return {first, first + flat.numel()};
}

}  // namespace

struct Model::State {
  State(OpenedModel opened, const ModelInfo& about)
      : info(about),
        keyed{.model_id = opened.model_id, .owner = opened.owner},
        network(std::move(opened.description), std::move(opened.model)) {}

  // A view of `values` as n samples.
  template <class T>
  at::Tensor samples(std::span<const T> values, std::size_t n, at::ScalarType type) const {
    const auto& shape = network.description().sample_shape;
    const auto size = static_cast<std::size_t>(network.description().sample_size());
    if (values.size() % size != 0 || values.size() / size != n)  // n * size may not fit
      fail_input("{} values are not {} samples of {} values each", values.size(), n, size);
    std::vector<std::int64_t> sizes{static_cast<std::int64_t>(n)};
    sizes.insert(sizes.end(), shape.begin(), shape.end());
    return at::from_blob(const_cast<T*>(values.data()), sizes, at::TensorOptions(type));
  }

  runtime::Answers answer(const at::Tensor& x) const {
    const auto found = network.answer(x);
    return {.classes = static_cast<std::size_t>(network.description().classes),
            .logits = values_of<float>(found.logits),
            .rejected = values_of<std::uint8_t>(found.rejected.to(at::kByte)),
            .reject_probability = values_of<float>(found.reject_probability)};
  }

  ModelInfo info;
  KeyedModel keyed;
  GatedNetwork network;
};

Model::Model(std::unique_ptr<State> state) : state_(std::move(state)) {}
Model::~Model() = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;

Model Model::open(const std::string& file) {
  return translated([&] {
    start_cryptography();
    auto opened = open_model(read_model_bytes(file), file);
    const auto info = info_of(opened);
    return Model(std::make_unique<State>(std::move(opened), info));
  });
}

const ModelInfo& Model::info() const {
  return state_->info;
}

KeyInfo Model::use_key(const std::string& file, const KeyOptions& options) {
  return translated([&] {
    SecretBytes passphrase;
    if (!options.passphrase.empty()) passphrase = SecretBytes::copy_of(std::as_bytes(std::span(options.passphrase)));
    RecipientPair recipient;
    KeyRequest request{.key = file, .revoked = options.revoked, .passphrase = &passphrase};
    if (!options.recipient.empty()) {
      constexpr std::size_t most_bytes = std::size_t{1} << 20;
      const auto bytes = read_secret_file(options.recipient, most_bytes);
      recipient = read_recipient_secret(bytes.bytes(), passphrase, options.recipient);
      request.recipient = &recipient;
    }
    const auto key = admit_key(request, state_->keyed, now());
    state_->network.use_key(key.sites, key.vectors.floats(), file);
    return KeyInfo{key.serial, key.name, key.not_before, key.not_after};
  });
}

void Model::use_no_key() {
  state_->network.use_no_key();
}

Answers Model::answer(std::span<const std::uint8_t> pixels, std::size_t n) const {
  return translated([&] {
    if (!state_->info.takes_images) fail_input("the network takes features, not images; accepted: float values");
    return state_->answer(state_->network.prepared(state_->samples(pixels, n, at::kByte)));
  });
}

Answers Model::answer(std::span<const float> values, std::size_t n) const {
  return translated([&] { return state_->answer(state_->samples(values, n, at::kFloat)); });
}

}  // namespace spankey::runtime
