// The file model.skm, a gated network as its owner gives it away. Its header has the description, model_id, the owner's
// public key and whether the basis follows a seed. Its payload is a safetensors image of parameters and buffers. The
// owner signs it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "keyring/network_description.h"
#include "keyring/signing.h"
#include "spankey/models/named_tensor.h"

namespace spankey {

// The bytes of the file. `model` has the weights and was made as `description` says.
std::vector<std::byte> write_model(const NetworkDescription& description, const Model& model, bool laboratory,
                                   const SigningKey& owner);

struct OpenedModel {
  NetworkDescription description;
  std::shared_ptr<Model> model;  // in evaluation mode, in host memory
  std::string model_id;          // weights_sha256
  PublicKey owner{};             // who has signed
  bool laboratory = false;       // The basis follows a seed: whoever knows the seed can make keys.
};

// Builds the network from the header alone and gives it the weights of the payload. Error(bad_input) "NAME: ..." in one
// line unless the file is whole, its signature valid, and its weights are those that model_id names. Whether the owner
// is the one expected is for the caller to check.
OpenedModel open_model(std::span<const std::byte> bytes, const std::string& name);

// The bytes of a model.skm or a safetensors file. Error(bad_input) for one of more than 1 GiB, before memory is taken.
std::vector<std::byte> read_model_bytes(const std::filesystem::path& path);

// Returns whether `bytes` begin as a model.skm does.
bool looks_like_model(std::span<const std::byte> bytes);

// The weights of a model.skm or of a safetensors image, told apart by content. Errors as from open_model() or
// decode_safetensors().
std::vector<NamedTensor> weights_in(std::span<const std::byte> bytes, const std::string& name);

// A safetensors image of the weights of `model`, with the description and weights_sha256 in its "__metadata__".
std::vector<std::byte> write_safetensors(const NetworkDescription& description, const Model& model);

}  // namespace spankey
