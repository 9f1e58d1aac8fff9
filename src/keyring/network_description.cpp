#include "keyring/network_description.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "config/names.h"
#include "config/value.h"
#include "spankey/models/precision.h"
#include "spankey/models/registry.h"
#include "spankey/ops/gram.h"

namespace spankey {
namespace {

constexpr std::int64_t most_classes = 1 << 16, most_sample_size = 1 << 20;
constexpr std::size_t most_class_name_bytes = 256, most_bytes_of_class_names = 16 << 10, most_word_bytes = 64;
constexpr double largest_number = 1e6;  // of gamma, deviations and the normalisation

// The word of an enumeration, as configurations have it.
template <ConfigEnum E>
E enum_word(HeaderFields& fields, const char* field) {
  constexpr auto words = enum_words(E{});
  const auto found = std::find(words.begin(), words.end(), fields.text(field, most_word_bytes));
  if (found == words.end()) fields.refuse(field, alternatives(words));
  return static_cast<E>(found - words.begin());
}

template <class Names>
std::string known_name(HeaderFields& fields, const char* field, const Names& names) {
  auto name = fields.text(field, most_word_bytes);
  if (std::find(names.begin(), names.end(), name) == names.end())
    fields.refuse(field, "a name that this program knows");
  return name;
}

std::vector<float> number_list(HeaderFields& fields, const char* field, std::size_t count, double low) {
  const auto& list = fields.any(field);
  std::vector<float> values;
  if (list.is_array() && list.size() == count)
    for (const auto& value : list)
      if (value.is_number() && value.get<double>() >= low && value.get<double>() <= largest_number)
        values.push_back(value.get<float>());
  if (values.size() != count) fields.refuse(field, fmt::format("{} numbers from {} to {}", count, low, largest_number));
  return values;
}

// Either one name a class, or none.
std::vector<std::string> class_names(HeaderFields& fields, std::int64_t classes) {
  const auto& list = fields.any("class_names");
  std::vector<std::string> names;
  if (list.is_array())
    for (const auto& name : list)
      if (name.is_string() && name.get_ref<const std::string&>().size() <= most_class_name_bytes)
        names.push_back(name.get<std::string>());
  if (!list.is_array() || names.size() != list.size() || (!names.empty() && std::ssize(names) != classes))
    fields.refuse("class_names", fmt::format("{} texts, or none", classes));
  return names;
}

void read_architecture(const nlohmann::json& json, const std::string& name, NetworkDescription& out) {
  HeaderFields fields(json, name);
  out.network = known_name(fields, "network", registry_names::networks);
  out.sample_shape = fields.integers("sample_shape", 1, most_sample_size, 3);
  const auto& facts = find_named(network_facts, out.network, name);
  if (!takes(facts, out.sample_shape) || out.sample_size() > most_sample_size)
    fields.refuse("sample_shape", fmt::format("({}), with at most {} numbers", shape_text(facts), most_sample_size));
  out.classes = fields.integer("classes", 1, most_classes);
  out.class_names = class_names(fields, out.classes);
  out.deny_mode = known_name(fields, "deny_mode", registry_names::deny_losses);
  out.deny_statistics = fields.flag("deny_statistics");
  out.precision = enum_word<Precision>(fields, "precision");
  fields.require_no_others();
}

void read_injection(const nlohmann::json& json, const std::string& name, NetworkDescription& out) {
  HeaderFields fields(json, name);
  out.sites = fields.any("points").empty() ? std::vector<KeySite>() : read_sites(fields);
  fields.any("widths");
  out.kind.inject = enum_word<Inject>(fields, "inject");
  out.kind.multiplier = enum_word<Multiplier>(fields, "multiplier");
  out.kind.gamma = fields.number("gamma", 0, largest_number);
  out.layout = enum_word<Layout>(fields, "layout");
  out.per_layer_key = fields.flag("per_layer_key");
  out.target_std = fields.number("target_std", 0, largest_number);
  const auto widths = find_named(network_facts, out.network, name).widths.all();
  if (!fields.any("permute").empty())
    out.kind.permuted =
        permuted_points(out.network, fields.integers("permute", 0, std::ssize(widths) - 1, widths.size()));
  fields.require_no_others();
  for (const auto& site : out.sites) {
    const bool known = site.point < std::ssize(widths);
    const auto width = known ? widths[static_cast<std::size_t>(site.point)] : 0;
    if (!known || site.width != (width > 0 ? width : out.sample_size()))
      fields.refuse("points", fmt::format("injection points of {} and their widths", out.network));
  }
}

double deviation(const at::Tensor& key) {
  return key_deviation(key.flatten(), /*repeats=*/1);
}

}  // namespace

std::int64_t NetworkDescription::sample_size() const {
  std::int64_t size = 1;
  for (const auto extent : sample_shape)
    if (__builtin_mul_overflow(size, extent, &size)) return std::numeric_limits<std::int64_t>::max();
  return size;
}

std::string NetworkDescription::class_name(std::int64_t number) const {
  return class_names.empty() ? std::to_string(number) : class_names.at(static_cast<std::size_t>(number));
}

NetworkDescription describe_network(const Config& config, const SampleFacts& samples, const Model& model) {
  NetworkDescription out{.network = config.model.name,
                         .sample_shape = samples.shape,
                         .classes = std::ssize(samples.class_names),
                         .class_names = samples.class_names,
                         .deny_mode = config.deny.mode,
                         .deny_statistics = config.model.batchnorm == BatchNorm::split,
                         .precision = config.train.precision,
                         .sites = {},
                         .kind = injection_kind(config),
                         .layout = config.key.layout,
                         .per_layer_key = config.key.per_layer_key,
                         .target_std = config.key.rescale == Rescale::none ? 0.0 : config.key.target_std,
                         .mean = samples.mean,
                         .std = samples.std};
  if (out.classes > most_classes || out.sample_size() > most_sample_size)
    fail_input("{} classes of {} numbers a sample: a model file may have {} and {}", out.classes, out.sample_size(),
               most_classes, most_sample_size);
  std::size_t bytes = 0;
  bool long_name = false;
  for (const auto& name : out.class_names) {
    bytes += name.size() + 4;
    long_name |= name.size() > most_class_name_bytes;
  }
  if (bytes > most_bytes_of_class_names || long_name) out.class_names.clear();
  const auto points = model.injection_points();
  if (config.train.twin != Twin::vanilla)
    for (const auto layer : config.key.layers)
      out.sites.push_back({layer, points.at(static_cast<std::size_t>(layer)).size()});
  return out;
}

nlohmann::json description_json(const NetworkDescription& d) {
  nlohmann::json injection{
      {"inject", to_string(d.kind.inject)}, {"multiplier", to_string(d.kind.multiplier)}, {"gamma", d.kind.gamma},
      {"layout", to_string(d.layout)},      {"per_layer_key", d.per_layer_key},           {"target_std", d.target_std}};
  injection["permute"] = nlohmann::json::array();
  for (const auto& permuted : d.kind.permuted) injection["permute"].push_back(permuted.point);
  write_sites(injection, d.sites);
  return {{"architecture",
           {{"network", d.network},
            {"sample_shape", d.sample_shape},
            {"classes", d.classes},
            {"class_names", d.class_names},
            {"deny_mode", d.deny_mode},
            {"deny_statistics", d.deny_statistics},
            {"precision", to_string(d.precision)}}},
          {"injection", std::move(injection)},
          {"normalisation", {{"mean", d.mean}, {"std", d.std}}}};
}

NetworkDescription read_description(const nlohmann::json& header, const std::string& name) {
  HeaderFields fields(header, name);
  NetworkDescription out;
  read_architecture(fields.any("architecture"), name, out);
  read_injection(fields.any("injection"), name, out);
  HeaderFields normalisation(fields.any("normalisation"), name);
  const std::size_t channels = out.is_images() ? static_cast<std::size_t>(out.sample_shape[0]) : 1;
  out.mean = number_list(normalisation, "mean", channels, -largest_number);
  out.std = number_list(normalisation, "std", channels, 1e-9);
  normalisation.require_no_others();
  return out;
}

std::shared_ptr<Model> build_network(const NetworkDescription& d, const std::string& name) {
  const auto reject = d.reject();
  if (d.precision == Precision::bf16 && !cpu_has_bf16())
    fail_input("{}: the network computes in bfloat16, for which this processor has no instructions", name);
  auto model = make_model(d.network, {.sample_shape = d.sample_shape,
                                      .classes = d.classes,
                                      .reject_class = reject == RejectKind::reject_class,
                                      .reject_head = reject == RejectKind::reject_head,
                                      .deny_statistics = d.deny_statistics,
                                      .precision = d.precision});
  model->eval();
  return model;
}

std::vector<at::Tensor> at_trained_strength(const NetworkDescription& d, std::vector<at::Tensor> vectors) {
  constexpr double rounding = 1e-3;  // of another law of the deviation, n or n - 1 in its denominator, for example
  if (d.target_std <= 0 || vectors.empty()) return vectors;
  std::vector<double> factors;
  if (d.per_layer_key || d.layout == Layout::per_layer) {
    for (const auto& vector : vectors) factors.push_back(rescale_factor(deviation(vector), d.target_std));
  } else {
    const auto widest = *std::max_element(vectors.begin(), vectors.end(),
                                          [](const auto& a, const auto& b) { return a.numel() < b.numel(); });
    const auto slot = d.layout == Layout::shared_blocks ? at::cat(vectors, 1) : widest;
    factors.assign(vectors.size(), rescale_factor(deviation(slot), d.target_std));
  }
  for (std::size_t i = 0; i < vectors.size(); ++i)
    if (std::abs(factors[i] - 1) > rounding) vectors[i] = vectors[i] * factors[i];
  return vectors;
}

}  // namespace spankey
