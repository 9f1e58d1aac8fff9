// An owner without a network, one key of it, and what tests of key files have in common.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "keyring/owner_folder.h"
#include "keyring/user_key.h"
#include "keyring/valid_key.h"

namespace spankey::test {

inline constexpr Argon2Cost cheap{.passes = 1, .memory_bytes = 8192};
inline constexpr std::int64_t noon = 1'800'000'000;  // what the clock says
inline constexpr std::int64_t a_day = 86'400;

inline SecretBytes secret(std::string_view text) {
  return SecretBytes::copy_of(std::as_bytes(std::span(text)));
}

inline Owner small_owner(double phi = 0.1) {
  Owner owner;
  owner.model_id = std::string(64, 'a');
  owner.created_at = noon;
  owner.phi = phi;
  owner.key.m = 3;
  owner.key.layers = {0, 2};
  owner.key.private_ = true;
  owner.sites = {{0, 16}, {2, 24}};
  owner.basis = secret_basis(make_basis(owner.key, {16, 24}, 7));
  owner.master_secret = SecretBytes::random(32);
  owner.signing_seed = SecretBytes::random(32);
  owner.public_key = owner.signing_key().public_key();
  return owner;
}

inline UserKey small_key(const Owner& owner, std::uint64_t serial = 1) {
  UserKey key{.serial = serial,
              .name = "Ann",
              .model_id = owner.model_id,
              .issued_at = noon,
              .not_before = noon + 10,
              .not_after = noon + a_day,
              .key_digest = {},
              .laboratory = false,
              .sites = owner.sites,
              .vectors = key_vectors(owner, issuer_of(owner), draw_alphas(owner, serial), serial)};
  key.key_digest = vectors_digest(key.sites, key.vectors.bytes());
  return key;
}

// What an Error(bad_input) on one line says. Empty where `work` does anything else.
inline std::string refusal(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    const std::string sentence = error.what();
    return error.code() == ExitCode::bad_input && sentence.find('\n') == std::string::npos ? sentence : "";
  } catch (const std::exception& error) {
    ADD_FAILURE() << "another exception: " << error.what();
  }
  return "";
}

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline void put(const std::filesystem::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

}  // namespace spankey::test
