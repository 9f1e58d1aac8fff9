// Asks a gated network from a program of your own: open a model, give it a key, get answers.
//
//   auto model = spankey::runtime::Model::open("model.skm");
//   model.use_key("user.skk", {.revoked = "revoked.skl"});
//   auto answers = model.answer(pixels, n);
//
// Link spankey::runtime (find_package(spankey)) or ask pkg-config for spankey-runtime. It needs LibTorch, HDF5
// and libsodium at run time, and no MPI. Objects may be used by one thread at a time; several objects may be used by
// several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#define SPANKEY_API __attribute__((visibility("default")))

namespace spankey::runtime {

// Every function below throws this, with one line that names the file and says what would be accepted.
class SPANKEY_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct ModelInfo {
  std::string id;                          // SHA-256 of the weights, hexadecimal
  std::string network;                     // such as "small_cnn"
  std::string owner;                       // public key of who has signed the model, hexadecimal
  std::vector<std::int64_t> sample_shape;  // (C, H, W) of images, (D) of features
  std::vector<std::string> classes;        // their names, or their numbers
  bool takes_images = false;
  bool takes_keys = false;
  bool can_reject = false;
  bool laboratory = false;  // keys follow a seed and are no secret
};

struct KeyInfo {
  std::uint64_t serial = 0;
  std::string name;                            // of its holder
  std::int64_t not_before = 0, not_after = 0;  // seconds since 1970, valid before not_after
};

struct KeyOptions {
  std::string revoked = {};     // path of revoked.skl; empty: none is looked at
  std::string recipient = {};   // path of NAME.sec, for a key that is sealed to a person
  std::string passphrase = {};  // of that file, or of a key that is sealed with one
};

// The answers to n samples. The logits are those of the classes alone, whether or not the answer is "reject".
struct Answers {
  std::size_t classes = 0;
  std::vector<float> logits;              // (n, classes), row by row
  std::vector<std::uint8_t> rejected;     // (n) 1 where the answer is "reject"
  std::vector<float> reject_probability;  // (n), empty where the network cannot reject

  std::size_t best_class(std::size_t sample) const;  // of the largest logit, the first one of several
};

class SPANKEY_API Model {
 public:
  // Reads a model.skm and checks its signature and the digest of its weights.
  static Model open(const std::string& file);
  ~Model();
  Model(Model&&) noexcept;
  Model& operator=(Model&&) noexcept;

  const ModelInfo& info() const;

  // Checks signature, owner, model, dates and, where it is given, the list of revocations. Then every sample is
  // answered with this key. After an error the model answers as before.
  KeyInfo use_key(const std::string& file, const KeyOptions& options = {});
  void use_no_key();

  // `pixels` are n images (C, H, W), one after the other.
  Answers answer(std::span<const std::uint8_t> pixels, std::size_t n) const;
  // `values` are n samples as the network takes them: features, or images that have been normalised.
  Answers answer(std::span<const float> values, std::size_t n) const;

 private:
  struct State;
  explicit Model(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

inline std::size_t Answers::best_class(std::size_t sample) const {
  const float* row = logits.data() + sample * classes;
  std::size_t best = 0;
  for (std::size_t c = 1; c < classes; ++c)
    if (row[c] > row[best]) best = c;
  return best;
}

}  // namespace spankey::runtime
