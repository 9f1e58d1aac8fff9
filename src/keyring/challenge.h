// The file challenge.h5, which holds test samples on which an owner tries a new key before it is handed out.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "keyring/model_file.h"
#include "keyring/user_key.h"

namespace spankey {

inline constexpr std::int64_t challenge_samples = 512;
inline constexpr double most_accuracy_lost = 0.02;  // by a new key, against the valid keys of the run

struct Challenge {
  at::Tensor x;       // (n, ...) float32, as the network takes them
  at::Tensor labels;  // (n) int64
};

// The bytes of the file, with the footer of base/sealed_file.h.
std::vector<std::byte> write_challenge(const Challenge& challenge);
// Error(bad_input) "NAME: ..." where the file is damaged or its samples are not what the network takes.
Challenge read_challenge(std::span<const std::byte> bytes, const NetworkDescription& description,
                         const std::string& name);

// Shares of the samples that are answered right.
struct ChallengeAccuracy {
  double shipped = 0;   // a rejection counts as wrong
  double stripped = 0;  // over the class logits, the rejection ignored, as whoever holds the weights reads them
};
// What the network gives with this key, or without any where `key` is null.
ChallengeAccuracy challenge_accuracy(Model& model, const NetworkDescription& description, const Challenge& challenge,
                                     const UserKey* key);

}  // namespace spankey
