#include "dist/communicator.h"

#include <ATen/Functions.h>
#include <c10/util/strides.h>
#include <fmt/ranges.h>

#include <array>
#include <cstring>

#include "base/error.h"

namespace spankey {
namespace {

void check_tensor(const at::Tensor& tensor) {
  SPANKEY_CHECK(tensor.defined());
  if (!tensor.is_contiguous())
    fail_run("communication needs contiguous tensors: sizes [{}] with strides [{}], contiguous would be [{}]",
             fmt::join(tensor.sizes(), ", "), fmt::join(tensor.strides(), ", "),
             fmt::join(c10::contiguous_strides(tensor.sizes()), ", "));
  const auto type = tensor.scalar_type();
  if (type != at::kFloat && type != at::kDouble && type != at::kLong && type != at::kByte)
    fail_run("communication knows float32, float64, int64 and uint8, not {}", at::toString(type));
}

void check_root(int root, int size) {
  SPANKEY_CHECK_GE(root, 0);
  SPANKEY_CHECK_LT(root, size);
}

// A host tensor for back ends that know only host memory, which is `tensor` itself or a pinned copy.
at::Tensor staged(const at::Tensor& tensor, bool on_device) {
  if (on_device || tensor.is_cpu()) return tensor;
  auto copy = at::empty(tensor.sizes(), tensor.options().device(at::kCPU).pinned_memory(true));
  copy.copy_(tensor);
  return copy;
}

void unstage(at::Tensor& tensor, const at::Tensor& copy) {
  if (!tensor.is_same(copy)) tensor.copy_(copy);
}

std::string short_hex(const std::uint8_t* digest) {
  Digest copy;
  std::memcpy(copy.data(), digest, copy.size());
  return to_hex(copy).substr(0, 12);
}

}  // namespace

// A single rank already has the result. A tensor on a GPU is then not copied through the host, which would have to
// wait.
void Communicator::broadcast(at::Tensor& tensor, int root) {
  check_tensor(tensor);
  check_root(root, size());
  if (size() == 1 && !stream_ordered()) return;
  auto copy = staged(tensor, stream_ordered());
  do_broadcast(copy, root);
  unstage(tensor, copy);
}

void Communicator::all_reduce(at::Tensor& tensor, ReduceOp op) {
  check_tensor(tensor);
  if (size() == 1 && !stream_ordered()) return;
  auto copy = staged(tensor, stream_ordered());
  do_all_reduce(copy, op);
  unstage(tensor, copy);
}

at::Tensor Communicator::all_gather(const at::Tensor& tensor) {
  check_tensor(tensor);
  auto shape = tensor.sizes().vec();
  shape.insert(shape.begin(), size());
  const auto copy = staged(tensor, stream_ordered());
  auto gathered = at::empty(shape, copy.options());
  do_all_gather(copy, gathered);
  return gathered.to(tensor.device());
}

void Communicator::exchange(const at::Tensor& send, at::Tensor& receive, int peer) {
  check_tensor(send);
  check_tensor(receive);
  check_root(peer, size());
  SPANKEY_CHECK_NE(peer, rank());
  SPANKEY_CHECK_EQ(send.numel(), receive.numel());
  SPANKEY_CHECK_EQ(at::toString(send.scalar_type()), std::string(at::toString(receive.scalar_type())));
  auto received = staged(receive, stream_ordered());
  do_exchange(staged(send, stream_ordered()), received, peer);
  unstage(receive, received);
}

void Communicator::barrier() {
  do_barrier();
}

void Communicator::agree(const std::vector<Claim>& claims) {
  constexpr std::size_t most_named = 8;
  constexpr auto bytes = static_cast<std::int64_t>(sizeof(Digest));
  const auto count = static_cast<std::int64_t>(claims.size());
  auto mine = at::empty({count, bytes}, at::kByte);
  for (std::int64_t i = 0; i < count; ++i)
    std::memcpy(mine.mutable_data_ptr<std::uint8_t>() + i * bytes, claims[static_cast<std::size_t>(i)].digest.data(),
                sizeof(Digest));
  const auto all = all_gather(mine);  // (size, claims, 32)
  const auto of_rank = [&](int rank, std::int64_t claim) {
    return all.const_data_ptr<std::uint8_t>() + (rank * count + claim) * bytes;
  };
  for (std::int64_t i = 0; i < count; ++i) {
    std::vector<std::string> named;
    std::size_t differing = 0;
    for (int other = 1; other < size(); ++other) {
      if (std::memcmp(of_rank(other, i), of_rank(0, i), sizeof(Digest)) == 0) continue;
      if (++differing <= most_named)
        named.push_back(fmt::format("rank {} has {}", other, short_hex(of_rank(other, i))));
    }
    if (differing == 0) continue;
    auto sentence = fmt::format("the ranks disagree on {}: rank 0 has {}, {}", claims[static_cast<std::size_t>(i)].what,
                                short_hex(of_rank(0, i)), fmt::join(named, ", "));
    if (differing > most_named) sentence += fmt::format(" and so on, {} of {} ranks differ", differing, size());
    throw AgreedError(ExitCode::run_failed, rank() == 0 ? sentence : std::string());
  }
}

void Communicator::agree(const Digest& digest, std::string_view what) {
  agree({{std::string(what), digest}});
}

std::vector<std::byte> Communicator::broadcast_bytes(const std::vector<std::byte>& bytes, int root) {
  auto length = at::full({1}, static_cast<std::int64_t>(bytes.size()), at::kLong);
  broadcast(length, root);
  auto buffer = at::empty({length.item<std::int64_t>()}, at::kByte);
  if (rank() == root && !bytes.empty()) std::memcpy(buffer.mutable_data_ptr(), bytes.data(), bytes.size());
  broadcast(buffer, root);
  const auto* first = static_cast<const std::byte*>(buffer.const_data_ptr());
  return {first, first + buffer.numel()};
}

std::string Communicator::broadcast_string(const std::string& text, int root) {
  const auto* first = reinterpret_cast<const std::byte*>(text.data());
  const auto bytes = broadcast_bytes({first, first + text.size()}, root);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace spankey
