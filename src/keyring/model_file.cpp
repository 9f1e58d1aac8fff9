#include "keyring/model_file.h"

#include "base/error.h"
#include "keyring/container.h"
#include "keyring/safetensors.h"
#include "keyring/secret_file.h"

namespace spankey {
namespace {

std::vector<NamedTensor> weights_of(const Model& model) {
  auto tensors = named_parameters(model);
  for (auto& buffer : named_buffers(model)) tensors.push_back(std::move(buffer));
  return tensors;
}

}  // namespace

std::vector<std::byte> write_model(const NetworkDescription& description, const Model& model, bool laboratory,
                                   const SigningKey& owner) {
  auto header = description_json(description);
  header["model_id"] = to_hex(weights_digest(model));
  header["owner"] = hex_text(owner.public_key());
  header["laboratory"] = laboratory;
  const auto payload = encode_safetensors({.tensors = weights_of(model), .metadata = {}});
  return make_container(container_prefix(FileType::model, header), payload, &owner);
}

OpenedModel open_model(std::span<const std::byte> bytes, const std::string& name) {
  const auto container = parse_container(bytes, FileType::model, name);
  SPANKEY_CHECK(container.signer.has_value());
  HeaderFields header(container.header, name);
  OpenedModel opened{.description = read_description(container.header, name),
                     .model = nullptr,
                     .model_id = read_hex_digest(header, "model_id"),
                     .owner = header.public_key("owner"),
                     .laboratory = header.flag("laboratory")};
  for (const char* read : {"architecture", "injection", "normalisation"}) header.any(read);
  header.require_no_others();
  if (opened.owner != *container.signer) header.refuse("owner", "the key that the file is signed with");
  opened.model = build_network(opened.description, name);
  load_weights(decode_safetensors(container.payload, name).tensors, *opened.model, name);
  if (to_hex(weights_digest(*opened.model)) != opened.model_id)
    header.refuse("model_id", "the SHA-256 of the weights in the file");
  return opened;
}

std::vector<std::byte> read_model_bytes(const std::filesystem::path& path) {
  constexpr std::size_t most_bytes = std::size_t{1} << 30;  // the largest network needs a twentieth
  return read_public_file(path, most_bytes);
}

bool looks_like_model(std::span<const std::byte> bytes) {
  return container_type(bytes) == FileType::model;
}

std::vector<NamedTensor> weights_in(std::span<const std::byte> bytes, const std::string& name) {
  if (looks_like_model(bytes)) return weights_of(*open_model(bytes, name).model);
  return decode_safetensors(bytes, name).tensors;
}

std::vector<std::byte> write_safetensors(const NetworkDescription& description, const Model& model) {
  Safetensors content{.tensors = weights_of(model), .metadata = {}};
  const auto json = description_json(description);
  for (const auto& [member, value] : json.items()) content.metadata[member] = value.dump();
  content.metadata["weights_sha256"] = to_hex(weights_digest(model));
  return encode_safetensors(content);
}

}  // namespace spankey
