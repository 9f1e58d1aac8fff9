#include "faults/power_loss.h"

#include <algorithm>
#include <fstream>
#include <iterator>

namespace spankey::test {
namespace {

using Content = std::vector<std::byte>;
constexpr std::size_t sector = 512;

std::string name_of(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

void put(Content& content, std::size_t offset, std::span<const std::byte> bytes) {
  if (content.size() < offset + bytes.size()) content.resize(offset + bytes.size());
  std::copy(bytes.begin(), bytes.end(), content.begin() + static_cast<std::ptrdiff_t>(offset));
}

// A write that nobody has asked to be kept.
void put_at_random(Content& content, std::size_t offset, std::span<const std::byte> bytes, std::mt19937_64& random) {
  if (random() % 4 == 0) return;  // nothing of it, not even the new length
  for (std::size_t begin = 0; begin < bytes.size(); begin += sector) {
    Content piece(bytes.begin() + static_cast<std::ptrdiff_t>(begin),
                  bytes.begin() + static_cast<std::ptrdiff_t>(std::min(begin + sector, bytes.size())));
    switch (random() % 3) {
      case 0:
        put(content, offset + begin, piece);
        break;
      case 1:
        for (auto& byte : piece) byte = static_cast<std::byte>(random());
        put(content, offset + begin, piece);
        break;
      default:  // lost: a hole of zeros, or the end of the file
        break;
    }
  }
}

}  // namespace

PowerLoss::PowerLoss(const std::filesystem::path& folder) {
  faults::observe([this](const faults::Event& event) { record(event); });
  faults::arm({.prefix = folder.string()});
}

PowerLoss::~PowerLoss() {
  stop();
}

void PowerLoss::stop() {
  if (!recording_) return;
  recording_ = false;
  faults::disarm();
  faults::observe({});
}

void PowerLoss::mark(int done) {
  events_.emplace_back(done);
}

void PowerLoss::record(const faults::Event& event) {
  switch (event.call) {
    case faults::Call::open:
      if (event.created) events_.emplace_back(Name{{}, name_of(event.path), event.inode});
      break;
    case faults::Call::write:
      events_.emplace_back(Write{event.inode, event.offset, {event.bytes.begin(), event.bytes.end()}});
      break;
    case faults::Call::fsync:
      events_.emplace_back(Sync{event.folder ? 0 : event.inode});
      break;
    case faults::Call::rename:
      events_.emplace_back(Name{name_of(event.path), name_of(event.new_path), event.inode});
      break;
    case faults::Call::unlink:
      events_.emplace_back(Name{name_of(event.path), {}, 0});
      break;
    default:
      break;
  }
}

std::size_t PowerLoss::syncs() const {
  return static_cast<std::size_t>(std::count_if(events_.begin(), events_.end(),
                                                [](const auto& event) { return std::holds_alternative<Sync>(event); }));
}

PowerLoss::State PowerLoss::after(std::uint64_t seed) const {
  std::mt19937_64 random(seed);
  const auto end = static_cast<std::ptrdiff_t>(random() % (events_.size() + 1));
  std::map<std::uint64_t, Content> contents;
  std::map<std::string, std::uint64_t> names;
  std::vector<Write> writes;
  std::vector<Name> renames;
  State state;
  const auto apply = [&](const Name& change) {
    if (!change.gone.empty()) names.erase(change.gone);
    if (change.inode != 0) names[change.name] = change.inode;
  };
  for (auto event = events_.begin(); event != events_.begin() + end; ++event) {
    if (const auto* done = std::get_if<int>(&*event)) state.done = *done;
    if (const auto* write = std::get_if<Write>(&*event)) writes.push_back(*write);
    if (const auto* name = std::get_if<Name>(&*event)) renames.push_back(*name);
    const auto* sync = std::get_if<Sync>(&*event);
    if (sync == nullptr) continue;
    if (sync->inode == 0) {
      std::for_each(renames.begin(), renames.end(), apply);
      renames.clear();
      continue;
    }
    std::erase_if(writes, [&](const Write& write) {
      if (write.inode != sync->inode) return false;
      put(contents[write.inode], static_cast<std::size_t>(write.offset), write.bytes);
      return true;
    });
  }
  for (const auto& change : renames)
    if (random() % 2 == 0) apply(change);
  for (const auto& write : writes)
    put_at_random(contents[write.inode], static_cast<std::size_t>(write.offset), write.bytes, random);
  for (const auto& [name, inode] : names) state.files[name] = contents[inode];
  return state;
}

void PowerLoss::materialize(const State& state, const std::filesystem::path& folder) {
  for (const auto& entry : std::filesystem::directory_iterator(folder)) std::filesystem::remove(entry.path());
  for (const auto& [name, content] : state.files)
    std::ofstream(folder / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(content.data()), static_cast<std::streamsize>(content.size()));
}

}  // namespace spankey::test
