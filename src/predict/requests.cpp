#include "predict/requests.h"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/shutdown.h"
#include "predict/samples.h"

namespace spankey {
namespace {

// Returns once there is something to read, or nothing will come. A signal does not interrupt every read(), so that a
// request to stop is looked for several times a second.
void wait_for_input(int descriptor) {
  constexpr int patience_ms = 200;
  while (true) {
    if (const int signal = shutdown::signal_number())
      throw Error(ExitCode::requeue, fmt::format("stopped as asked by signal {}", signal));
    pollfd waiting{.fd = descriptor, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&waiting, 1, patience_ms);
    if (ready > 0 || (ready < 0 && errno != EINTR)) return;  // read() will tell
  }
}

// Reads all of `into`, or as much as there is before the other side closes. Returns how much that is.
std::size_t read_all(int descriptor, std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    wait_for_input(descriptor);
    const auto count = ::read(descriptor, into.data() + done, into.size() - done);
    if (count == 0) break;
    if (count > 0)
      done += static_cast<std::size_t>(count);
    else if (errno != EINTR && errno != EAGAIN)
      fail_system(errno, "standard input cannot be read");
  }
  return done;
}

// Returns false at the end of the input.
bool next_request(int descriptor, std::vector<std::byte>& request) {
  std::array<std::byte, 4> prefix{};
  const auto got = read_all(descriptor, prefix);
  if (got == 0) return false;
  if (got < prefix.size()) fail_input("--stdin: the input ends within the length of a request");
  std::uint32_t length = 0;
  std::memcpy(&length, prefix.data(), sizeof length);
  if (length > most_request_bytes)
    fail_input("--stdin: a request of {} bytes; accepted: up to {}", length, most_request_bytes);
  request.resize(length);
  const auto content = read_all(descriptor, request);
  if (content < request.size()) fail_input("--stdin: the input ends after {} of {} bytes", content, length);
  return true;
}

bool is_picture(std::span<const std::byte> bytes) {
  const auto begins = [&](std::string_view signature) {
    return bytes.size() >= signature.size() && std::memcmp(bytes.data(), signature.data(), signature.size()) == 0;
  };
  return begins("\x89PNG") || begins("\xff\xd8\xff");
}

// The sample as the network takes it, (1, ...).
at::Tensor sample_of(std::vector<std::byte>& bytes, const GatedNetwork& network) {
  const auto& description = network.description();
  const auto size = static_cast<std::size_t>(description.sample_size());
  auto shape = description.sample_shape;
  shape.insert(shape.begin(), 1);
  if (description.is_images() && is_picture(bytes))
    return network.prepared(picture_sample(bytes, "request", description).unsqueeze(0));
  if (description.is_images() && bytes.size() == size)
    return network.prepared(at::from_blob(bytes.data(), shape, at::kByte));
  if (bytes.size() != size * sizeof(float))
    fail_input("request of {} bytes; accepted: {}{} float32 values", bytes.size(),
               description.is_images() ? fmt::format("a PNG or JPEG file, {} bytes, or ", size) : "", size);
  auto values = at::empty(shape, at::kFloat);
  std::memcpy(values.mutable_data_ptr(), bytes.data(), bytes.size());
  return values;
}

}  // namespace

void answer_requests(int descriptor, const GatedNetwork& network, const PredictionWriter& writer, std::int64_t top,
                     const std::function<void(const std::string& line)>& print) {
  std::vector<std::byte> request;
  for (std::int64_t index = 0; next_request(descriptor, request); ++index) {
    try {
      const auto answers = network.answer(sample_of(request, network));
      const SampleBatch batch{.values = {}, .names = {std::to_string(index)}, .labels = {}};
      print(writer.line(predictions_of(answers, batch, index, top).at(0)));
    } catch (const Error& error) {
      if (error.code() != ExitCode::bad_input) throw;
      print(nlohmann::ordered_json{{"index", index}, {"error", error.what()}}.dump() + '\n');
    }
  }
}

}  // namespace spankey
