#include "keyring/challenge.h"

#include <ATen/ATen.h>
#include <torch/utils.h>

#include <algorithm>

#include "base/error.h"
#include "base/hdf5_file.h"
#include "base/sealed_file.h"
#include "spankey/deny/access.h"

namespace spankey {
namespace {

constexpr std::int64_t challenge_batch = 256;

// The key as one row for all samples, in memory that is wiped.
Injection injection_of(const UserKey& key, const InjectionKind& kind) {
  std::vector<std::int64_t> points;
  std::vector<at::Tensor> vectors;
  for (std::size_t site = 0; site < key.sites.size(); ++site) {
    const auto values = key.vector_at(site);
    auto row = secret_matrix(1, std::ssize(values));
    std::copy(values.begin(), values.end(), row.mutable_data_ptr<float>());
    points.push_back(key.sites[site].point);
    vectors.push_back(std::move(row));
  }
  return Injection::of_keys(points, std::move(vectors), kind);
}

}  // namespace

std::vector<std::byte> write_challenge(const Challenge& challenge) {
  const auto x = challenge.x.to(at::kCPU, at::kFloat).contiguous();
  const auto labels = challenge.labels.to(at::kCPU, at::kLong).contiguous();
  auto file = h5::File::create();
  file.set_attribute("/", "kind", std::string("spankey challenge"));
  file.write<float>("x", x.sizes().vec(), {x.const_data_ptr<float>(), static_cast<std::size_t>(x.numel())});
  file.write<std::int64_t>("labels", labels.sizes().vec(),
                           {labels.const_data_ptr<std::int64_t>(), static_cast<std::size_t>(labels.numel())});
  auto image = file.image();
  append_footer(image);
  return image;
}

Challenge read_challenge(std::span<const std::byte> bytes, const NetworkDescription& description,
                         const std::string& name) {
  const auto file = h5::File::from_image(checked_image(bytes, name), name);
  const auto labels = file.read<std::int64_t>("labels");
  const auto count = std::ssize(labels);
  auto shape = description.sample_shape;
  shape.insert(shape.begin(), count);
  const auto info = file.info("x");
  if (count == 0 || count > challenge_samples || info.type != h5::Type::float32 || info.shape != shape)
    fail_input("{}: its samples are not what the network takes; accepted: the challenge.h5 of this owner", name);
  for (const auto label : labels)
    if (label < 0 || label >= description.classes)
      fail_input("{}: label {}; accepted: 0 to {}", name, label, description.classes - 1);
  Challenge challenge{at::empty(shape, at::kFloat), at::empty({count}, at::kLong)};
  file.read_raw("x", {static_cast<std::byte*>(challenge.x.mutable_data_ptr()), challenge.x.nbytes()});
  std::copy(labels.begin(), labels.end(), challenge.labels.mutable_data_ptr<std::int64_t>());
  return challenge;
}

ChallengeAccuracy challenge_accuracy(Model& model, const NetworkDescription& description, const Challenge& challenge,
                                     const UserKey* key) {
  const torch::NoGradGuard no_grad;
  const auto injection = key ? injection_of(*key, description.kind) : Injection::none();
  AccessCounts counts;
  const auto samples = challenge.labels.size(0);
  for (std::int64_t begin = 0; begin < samples; begin += challenge_batch) {
    const auto rows = std::min(challenge_batch, samples - begin);
    counts += count_access(model.forward(challenge.x.narrow(0, begin, rows), injection),
                           challenge.labels.narrow(0, begin, rows), description.reject());
  }
  const auto share = [&](std::int64_t count) { return static_cast<double>(count) / static_cast<double>(samples); };
  return {.shipped = share(counts.correct), .stripped = share(counts.strip)};
}

}  // namespace spankey
