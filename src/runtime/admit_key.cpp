#include "runtime/admit_key.h"

#include "base/error.h"
#include "keyring/owner_folder.h"

namespace spankey {

UserKey admit_key(const KeyRequest& request, const KeyedModel& model, std::int64_t now) {
  const auto name = request.key.string();
  auto file = read_user_key_file(request.key);
  const auto signer = file.owner;
  KeyUse use{.model_id = model.model_id, .owner = model.owner.value_or(signer), .now = now, .revoked = nullptr};
  RevocationList revoked;
  if (!request.revoked.empty()) {
    revoked = read_revocations_file(request.revoked);
    use.revoked = &revoked;
  }
  require_usable(file.key, signer, use, name);
  if (file.seal == KeySeal::none) return std::move(file.key);
  return open_user_key(std::move(file), {.recipient = request.recipient, .passphrase = request.passphrase}, name);
}

KeySeal seal_of(const std::filesystem::path& key) {
  return read_user_key_file(key).seal;
}

std::string key_text(const UserKey& key) {
  return fmt::format("key {} of {}, valid from {} until {}{}", key.serial, key.name, time_text(key.not_before),
                     time_text(key.not_after), key.laboratory ? ", of a laboratory basis that follows a seed" : "");
}

}  // namespace spankey
