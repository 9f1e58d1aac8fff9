// spankey key issue: makes keys and tries each before it is handed out.
#include <fmt/format.h>

#include <ctime>
#include <sstream>

#include "base/file.h"
#include "base/text.h"
#include "cli/key/key_arguments.h"
#include "keyring/challenge.h"
#include "keyring/container.h"
#include "keyring/issue.h"
#include "keyring/key_facts.h"
#include "keyring/model_file.h"
#include "keyring/secret_file.h"

namespace spankey::cli {
namespace {

constexpr std::int64_t seconds_a_day = 86'400;
constexpr std::size_t most_challenge_bytes = std::size_t{1} << 30;

// The first second of a day "YYYY-MM-DD" (UTC).
std::int64_t day_begin(const std::string& text) {
  std::tm day{};
  const char* end = strptime(text.c_str(), "%Y-%m-%d", &day);
  auto found = day;  // timegm() makes the 1st of March of a 29th of February that its year does not have
  const auto begin = timegm(&found);
  if (end == nullptr || *end != '\0' || found.tm_mday != day.tm_mday)
    fail_input("--from {}: accepted: a day such as 2026-12-31", text);
  return begin;
}

std::vector<std::string> names_of(const KeyArguments& arguments) {
  if (arguments.name.empty() == arguments.names.empty())
    fail_input("key issue: accepted: either --name NAME or --names FILE");
  if (!arguments.name.empty()) return {arguments.name};
  std::vector<std::string> names;
  std::istringstream lines(read_text(arguments.names));
  for (std::string line; std::getline(lines, line);)
    if (!line.empty()) names.push_back(line);
  if (names.empty()) fail_input("{}: no names; accepted: one on each line", arguments.names);
  return names;
}

RecipientPair recipient_of(const std::string& file) {
  constexpr std::size_t most_bytes = 2 * most_header_bytes;
  return read_recipient_public(read_sealed_file(file, most_bytes), file);
}

// One file for one name, and a folder with a file for each of several.
std::vector<IssueRequest> requests_of(const KeyArguments& arguments, const std::vector<std::string>& names,
                                      std::uint64_t first_serial, std::int64_t now, const SealWith& seal) {
  const auto not_before = arguments.from.empty() ? now : day_begin(arguments.from);
  std::vector<IssueRequest> requests;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const auto file = arguments.names.empty()
                          ? std::filesystem::path(arguments.out)
                          : std::filesystem::path(arguments.out) / fmt::format("key_{:06}.skk", first_serial + i);
    requests.push_back({.name = names[i],
                        .not_before = not_before,
                        .not_after = not_before + arguments.days * seconds_a_day,
                        .out = file,
                        .seal = seal});
  }
  return requests;
}

// What a new key is tried on.
class Trial {
 public:
  explicit Trial(const OwnerFolder& folder)
      : owner_(folder.owner()),
        model_(open_model(read_model_bytes(folder.paths().model()), folder.paths().model().string())) {
    if (model_.owner != owner_.public_key || model_.model_id != owner_.model_id)
      fail_input("{}: the model is not that of this owner", folder.paths().model().string());
    const auto path = folder.paths().challenge();
    challenge_ = read_challenge(read_sealed_file(path, most_challenge_bytes), model_.description, path.string());
  }

  // Why the key is not handed out, or nothing.
  std::string operator()(const UserKey& key) {
    const double accuracy = challenge_accuracy(*model_.model, model_.description, challenge_, &key).shipped;
    if (accuracy < owner_.correct_accuracy - most_accuracy_lost)
      return fmt::format(
          "a key for {} answers only {:.3f} of {} test samples right, valid keys {:.3f} (a smaller --phi at key init "
          "costs less accuracy)",
          key.name, accuracy, challenge_.labels.size(0), owner_.correct_accuracy);
    accuracies_.push_back(accuracy);
    return {};
  }
  const std::vector<double>& accuracies() const { return accuracies_; }

 private:
  const Owner& owner_;
  OpenedModel model_;
  Challenge challenge_;
  std::vector<double> accuracies_;
};

}  // namespace

ExitCode key_issue(const KeyArguments& arguments) {
  const auto names = names_of(arguments);
  if (!arguments.to.empty() && arguments.seals)
    fail_input("--to {}: the key cannot also be sealed with a passphrase; accepted: one of them", arguments.to);
  RecipientPair recipient;
  SecretBytes passphrase;
  SealWith seal{.recipient = nullptr, .passphrase = nullptr, .cost = arguments.cost()};
  if (!arguments.to.empty()) {
    recipient = recipient_of(arguments.to);
    seal.recipient = &recipient.public_key;
  }
  auto folder = open_owner_folder(arguments, OwnerFolder::Access::write);
  if (arguments.seals) {
    passphrase = read_new_passphrase(arguments.seal, "the new key");
    seal.passphrase = &passphrase;
  }
  const auto now = current_time();
  if (!arguments.names.empty() && !std::filesystem::exists(arguments.out)) make_secret_folder(arguments.out);
  const auto requests = requests_of(arguments, names, folder.registry().next_serial(), now, seal);
  Trial trial(folder);
  const auto issued = issue_keys(folder, requests, now, std::ref(trial));
  auto json = nlohmann::json::array();
  std::string text;
  for (std::size_t i = 0; i < issued.size(); ++i) {
    json.push_back({{"serial", issued[i].serial},
                    {"name", issued[i].name},
                    {"file", requests[i].out.string()},
                    {"not_before", issued[i].not_before},
                    {"not_after", issued[i].not_after},
                    {"key_digest", to_hex(issued[i].key_digest)},
                    {"accuracy", trial.accuracies()[i]}});
    text += fmt::format("{}: key {} of {}, valid from {} until {}; it answers {:.3f} of the test samples right\n",
                        requests[i].out.string(), issued[i].serial, issued[i].name, time_text(issued[i].not_before),
                        time_text(issued[i].not_after), trial.accuracies()[i]);
  }
  print_key_result(arguments, {{"issued", std::move(json)}}, text, folder.owner().laboratory);
  return ExitCode::done;
}

}  // namespace spankey::cli
