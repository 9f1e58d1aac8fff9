#include "train/coordinator.h"

#include <ATen/ATen.h>
#include <sodium.h>

#include <span>

#include "base/error.h"
#include "base/log.h"
#include "base/secret.h"
#include "dist/on_all_ranks.h"
#include "train/basis_file.h"
#include "train/experiment.h"

namespace spankey {
namespace {

// Makes the basis from a seed that is kept nowhere. It is wiped where it was drawn and in the streams made from it.
Basis private_basis(const Experiment& experiment) {
  std::uint64_t seed = 0;
  const WipedAtEnd wiped(std::as_writable_bytes(std::span(&seed, 1)));
  randombytes_buf(&seed, sizeof seed);
  auto basis = make_basis(experiment.config.key, experiment.key_dims, seed);
  wipe_stack();
  return basis;
}

Basis new_basis(const Experiment& experiment) {
  const auto& config = experiment.config;
  if (config.key.private_) return private_basis(experiment);
  return make_basis(config.key, experiment.key_dims, key_seed(config.key, static_cast<std::uint64_t>(config.run.seed)));
}

// A run that goes on with a changed configuration keeps its basis, so the configuration must still describe that basis.
// Another machine's linear algebra may round an orthonormal basis differently.
void require_unchanged_origin(const Basis& stored, const Experiment& experiment, const std::filesystem::path& path) {
  const auto& config = experiment.config;
  const auto seeded =
      make_basis(config.key, experiment.key_dims, key_seed(config.key, static_cast<std::uint64_t>(config.run.seed)));
  bool equal = true;
  for (std::size_t i = 0; i < seeded.layers.size(); ++i)
    equal = equal && at::allclose(seeded.layers[i], stored.layers[i], /*rtol=*/1e-4, /*atol=*/1e-5);
  if (equal == config.key.private_)
    fail_input("{} holds {}; a run keeps its basis, --run-dir starts another", path.string(),
               equal ? "a basis made from a seed, key.private = true asks for one that is not"
                     : "another basis than run.seed, key.seed and key.basis make");
}

Basis load_or_make(const Experiment& experiment, const RunDirectory& directory, const std::string& expected_digest,
                   bool check_origin) {
  const auto& config = experiment.config;
  const auto path = directory.basis();
  Basis basis;
  if (std::filesystem::exists(path)) {
    basis = load_basis(path, config.key.m, experiment.key_dims);
    if (check_origin) require_unchanged_origin(basis, experiment, path);
  } else {
    if (config.key.private_ && !expected_digest.empty())
      fail_input("{} is missing: a private basis cannot be made again, and without it this run cannot go on",
                 path.string());
    basis = new_basis(experiment);
    save_basis(basis, path);
  }
  const auto digest = to_hex(basis_digest(basis));
  if (!expected_digest.empty() && digest != expected_digest)
    fail_input("{} holds the basis {:.16}, the checkpoint was trained with {:.16}", path.string(), digest,
               expected_digest);
  return basis;
}

Digest cursor_digest(const Cursor& cursor) {
  return Sha256().update_int64(cursor.epoch).update_int64(cursor.step).update_int64(cursor.global_step).finish();
}

}  // namespace

Coordinator::Coordinator(const Experiment& experiment, Communicator& communicator)
    : experiment_(experiment), communicator_(communicator) {}

// The ranks compare all keys, including those left out of the hash, because collective work (audits, buckets) depends
// on some of them. Only the path of the data may differ between machines. Their digest stands for them.
std::vector<Claim> Coordinator::claims_of_experiment() const {
  auto config = experiment_.config;
  config.data.file.clear();
  return {{"the configuration", sha256(to_toml(config))}, {"the data set", sha256(experiment_.dataset->info().digest)}};
}

Basis Coordinator::obtain_basis(const RunDirectory& directory, const std::string& expected_digest, bool check_origin) {
  communicator_.agree(claims_of_experiment());  // the shapes of what follows depend on it
  Basis basis;
  on_all_ranks(communicator_, [&] {
    if (communicator_.rank() == 0) basis = load_or_make(experiment_, directory, expected_digest, check_origin);
  });
  const auto& dims = experiment_.key_dims;
  if (communicator_.rank() != 0)
    for (const auto d : dims) basis.layers.push_back(secret_matrix(experiment_.config.key.m, d));
  SPANKEY_CHECK_EQ(basis.layers.size(), dims.size());
  for (auto& layer : basis.layers) {
    layer = layer.contiguous();
    communicator_.broadcast(layer, 0);
  }
  return basis;
}

void Coordinator::audit(const Basis& basis, const Cursor& cursor) {
  const auto& model = *experiment_.model;
  auto claims = claims_of_experiment();
  claims.push_back({"parameter names and shapes", layout_digest(named_parameters(model), named_buffers(model))});
  claims.push_back({"the cursor", cursor_digest(cursor)});
  claims.push_back({"the key basis", basis_digest(basis)});
  claims.push_back({"the weights", weights_digest(model)});
  communicator_.agree(claims);
  log::debug("audit passed at step {}", cursor.global_step);
}

void Coordinator::audit_by_checksum(const Basis& basis, const Cursor& cursor) {
  communicator_.agree({{"the cursor", cursor_digest(cursor)},
                       {"the key basis", checksum(basis.layers)},
                       {"the weights", weights_checksum(*experiment_.model)}});
}

}  // namespace spankey
