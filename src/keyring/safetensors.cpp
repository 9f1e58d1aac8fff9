#include "keyring/safetensors.h"

#include <ATen/ops/empty.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace spankey {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are stored as they lie in memory");

constexpr std::string_view metadata_name = "__metadata__";

struct StoredType {
  std::string_view stored;  // in the header
  at::ScalarType scalar;
};
constexpr auto stored_types = std::to_array<StoredType>(
    {{"F32", at::kFloat}, {"F64", at::kDouble}, {"I64", at::kLong}, {"I32", at::kInt}, {"U8", at::kByte}});

std::string_view type_in_header(const at::Tensor& tensor) {
  for (const auto& type : stored_types)
    if (type.scalar == tensor.scalar_type()) return type.stored;
  fail_run("safetensors: no place for a tensor of type {}", dtype_name(tensor));
}

// A tensor in the header, checked but for its neighbours.
struct TensorEntry {
  std::string name;
  at::ScalarType type;
  std::vector<std::int64_t> shape;
  std::uint64_t begin, end;  // in the bytes behind the header
};

class SafetensorsReader {
 public:
  static constexpr std::size_t length_bytes = 8;

  SafetensorsReader(std::span<const std::byte> bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  Safetensors read() {
    const auto header = parse_header();
    Safetensors content;
    std::vector<TensorEntry> entries;
    for (const auto& [name, value] : header.items()) {
      if (name == metadata_name)
        content.metadata = metadata(value);
      else
        entries.push_back(entry(name, value));
    }
    require_seamless(entries);
    for (const auto& entry : entries) content.tensors.push_back({entry.name, copy(entry)});
    return content;
  }

 private:
  template <class... Args>
  [[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) const {
    fail_input("{}: no safetensors file: {}", name_, fmt::format(format, std::forward<Args>(args)...));
  }

  // Sets data_ to what follows the header.
  nlohmann::json parse_header() {
    std::uint64_t length = 0;
    if (bytes_.size() < length_bytes) fail("{} bytes are too few for the length of a header", bytes_.size());
    std::memcpy(&length, bytes_.data(), length_bytes);
    if (length > std::min<std::uint64_t>(bytes_.size() - length_bytes, longest_header))
      fail("the header shall have {} bytes, and the file has {}", length, bytes_.size());
    const auto header = bytes_.subspan(length_bytes, length);
    data_ = bytes_.subspan(length_bytes + length);
    const std::string_view text(reinterpret_cast<const char*>(header.data()), header.size());
    if (!is_utf8(text)) fail("the header is not UTF-8");
    // A key that comes twice would hide a tensor, and deep nesting would use up the stack.
    std::vector<std::string> seen;
    bool deep = false;
    const auto watch = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& value) {
      deep |= depth > most_nesting;
      if (event == nlohmann::json::parse_event_t::key && depth == 1) seen.push_back(value.get<std::string>());
      return !deep;
    };
    auto json = nlohmann::json::parse(text, watch, /*allow_exceptions=*/false);
    std::sort(seen.begin(), seen.end());
    const bool twice = std::adjacent_find(seen.begin(), seen.end()) != seen.end();
    if (deep || twice || !json.is_object())
      fail("the header is {}", twice ? "JSON that names a tensor twice" : "no JSON object of tensors");
    return json;
  }

  std::map<std::string, std::string> metadata(const nlohmann::json& json) const {
    std::map<std::string, std::string> texts;
    if (!json.is_object()) fail("{} is no object", metadata_name);
    for (const auto& [name, value] : json.items()) {
      if (!value.is_string()) fail("{} of {} is no text", escaped(name), metadata_name);
      texts.emplace(name, value.get<std::string>());
    }
    return texts;
  }

  TensorEntry entry(const std::string& name, const nlohmann::json& json) const {
    const auto shown = escaped(name);
    if (name.empty() || !json.is_object() || json.size() != 3 || !json.contains("dtype") || !json.contains("shape") ||
        !json.contains("data_offsets"))
      fail("'{}' is not described by dtype, shape and data_offsets", shown);
    const auto& dtype = json["dtype"];
    const auto type =
        std::find_if(stored_types.begin(), stored_types.end(), [&](const StoredType& t) { return dtype == t.stored; });
    if (type == stored_types.end())
      fail("'{}' has the type {}; accepted: F32, F64, I64, I32, U8", shown, escaped(dtype.dump()));
    const auto shape = naturals(json["shape"], shown), offsets = naturals(json["data_offsets"], shown);
    if (shape.size() > most_dimensions || offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data_.size())
      fail("'{}' lies outside of the file or has more than {} dimensions", shown, most_dimensions);
    if (offsets[1] - offsets[0] != needed_bytes(shape, c10::elementSize(type->scalar)))
      fail("'{}' has {} bytes, which is not what its shape needs", shown, offsets[1] - offsets[0]);
    return {name, type->scalar, {shape.begin(), shape.end()}, offsets[0], offsets[1]};
  }

  std::vector<std::uint64_t> naturals(const nlohmann::json& json, const std::string& shown) const {
    const bool whole = json.is_array() && std::all_of(json.begin(), json.end(), [](const nlohmann::json& value) {
                         return value.is_number_unsigned() && value.get<std::uint64_t>() <= most_extent;
                       });
    if (!whole) fail("shape or data_offsets of '{}' are no list of whole numbers from 0", shown);
    return json.get<std::vector<std::uint64_t>>();
  }

  // More than any file has where the product does not fit into 64 bits.
  static std::uint64_t needed_bytes(const std::vector<std::uint64_t>& shape, std::uint64_t bytes) {
    if (std::find(shape.begin(), shape.end(), std::uint64_t{0}) != shape.end()) return 0;
    for (const auto extent : shape)
      if (__builtin_mul_overflow(bytes, extent, &bytes)) return std::numeric_limits<std::uint64_t>::max();
    return bytes;
  }

  // Sorts the tensors by place. Each byte behind the header belongs to exactly one of them.
  void require_seamless(std::vector<TensorEntry>& entries) const {
    std::stable_sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
      return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
    });
    std::uint64_t end = 0;
    for (const auto& entry : entries) {
      if (entry.begin != end)
        fail("'{}' begins at byte {} of the tensors, the one before it ends at {}", escaped(entry.name), entry.begin,
             end);
      end = entry.end;
    }
    if (end != data_.size()) fail("{} bytes belong to no tensor", data_.size() - end);
  }

  at::Tensor copy(const TensorEntry& entry) const {
    auto tensor = at::empty(entry.shape, at::TensorOptions().dtype(entry.type));
    const auto bytes = data_.subspan(entry.begin, entry.end - entry.begin);
    if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
    return tensor;
  }

  static constexpr std::size_t longest_header = std::size_t{16} << 20;  // a hundred layers need 50 kB
  static constexpr std::size_t most_dimensions = 16;
  static constexpr int most_nesting = 3;  // header, tensor, list
  static constexpr std::uint64_t most_extent = std::numeric_limits<std::int64_t>::max() / 16;

  std::span<const std::byte> bytes_, data_;
  const std::string& name_;
};

}  // namespace

std::vector<std::byte> encode_safetensors(const Safetensors& content) {
  auto header = nlohmann::ordered_json::object();  // readers expect the description first
  if (!content.metadata.empty()) header[std::string(metadata_name)] = content.metadata;
  std::uint64_t end = 0;
  std::vector<at::Tensor> hosted;
  for (const auto& [name, value] : content.tensors) {
    hosted.push_back(value.detach().cpu().contiguous());
    const auto begin = std::exchange(end, end + hosted.back().nbytes());
    header[name] = {{"dtype", type_in_header(value)}, {"shape", value.sizes().vec()}, {"data_offsets", {begin, end}}};
  }
  constexpr std::size_t alignment = 8;
  auto text = header.dump();
  text.resize((text.size() + alignment - 1) / alignment * alignment, ' ');
  const std::uint64_t length = text.size();
  std::vector<std::byte> bytes;
  bytes.reserve(SafetensorsReader::length_bytes + text.size() + end);
  const auto append = [&](const void* from, std::size_t count) {
    const auto* first = static_cast<const std::byte*>(from);
    bytes.insert(bytes.end(), first, first + count);
  };
  append(&length, SafetensorsReader::length_bytes);
  append(text.data(), text.size());
  for (const auto& tensor : hosted)
    if (tensor.nbytes() > 0) append(tensor.const_data_ptr(), tensor.nbytes());
  return bytes;
}

Safetensors decode_safetensors(std::span<const std::byte> bytes, const std::string& name) {
  return SafetensorsReader(bytes, name).read();
}

}  // namespace spankey
