// HDF5 files, read from disk or memory and written to memory.
//
// Nothing here writes to disk: a file is built in memory, `image()` gives its bytes, and base/file.h commits them, so
// that a crash or a full disk leaves the old file in place. Debian's HDF5 is not thread-safe: one mutex guards every
// call. A user's file that is missing, damaged or of another shape than asked for is Error(bad_input) with file and
// object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace spankey::h5 {

enum class Type { uint8, int32, int64, float32, float64 };

std::string_view to_string(Type type);
std::size_t size_bytes(Type type);

struct Info {
  Type type;
  std::vector<std::int64_t> shape;  // {} for a scalar
  std::int64_t elements() const;
};

class File {
 public:
  // Read-only.
  static File open(const std::filesystem::path& path);
  // Read-only, of a whole file in memory; bytes after the HDF5 image are allowed. `name` appears in messages.
  static File from_image(std::span<const std::byte> image, const std::string& name);
  // New and empty, in memory.
  static File create();

  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;

  // Flushes; the bytes are the same for the same sequence of writes.
  std::vector<std::byte> image();

  bool exists(const std::string& path) const;
  // Names of the sub-groups and of the data sets of a group, sorted.
  std::vector<std::string> groups(const std::string& path = "/") const;
  std::vector<std::string> datasets(const std::string& path = "/") const;

  Info info(const std::string& dataset) const;
  // Where the values lie in the file in one piece, if they do (contiguous and written).
  std::optional<std::int64_t> offset(const std::string& dataset) const;

  // T: std::uint8_t, std::int32_t, std::int64_t, float, double. The stored type must be T or fit into it without loss.
  template <class T>
  std::vector<T> read(const std::string& dataset) const;
  // In the stored type; `out` has exactly the size of the data set.
  void read_raw(const std::string& dataset, std::span<std::byte> out) const;
  // Strings of fixed length: a list of them (a single one is a list of one), or a single one.
  std::vector<std::string> read_strings(const std::string& dataset) const;
  std::string read_string(const std::string& dataset) const;

  // Contiguous; missing parent groups are made, an existing name is a programmer's mistake.
  template <class T>
  void write(const std::string& dataset, std::span<const std::int64_t> shape, std::span<const T> values);
  void write_raw(const std::string& dataset, Type type, std::span<const std::int64_t> shape,
                 std::span<const std::byte> bytes);
  // UTF-8, and said to be; of fixed length, so that they lie in the file in one piece like all other values.
  void write_strings(const std::string& dataset, const std::vector<std::string>& strings);
  void write_string(const std::string& dataset, const std::string& text);

  // `object`: a group or a data set, "/" for the file itself.
  std::vector<std::string> attribute_names(const std::string& object) const;
  bool has_attribute(const std::string& object, const std::string& name) const;
  std::string string_attribute(const std::string& object, const std::string& name) const;
  std::int64_t int_attribute(const std::string& object, const std::string& name) const;
  double double_attribute(const std::string& object, const std::string& name) const;
  // A scalar counts as a list of one.
  std::vector<std::int64_t> ints_attribute(const std::string& object, const std::string& name) const;
  std::vector<double> doubles_attribute(const std::string& object, const std::string& name) const;

  // Replaces an attribute of that name. HDF5 refuses attributes over 64 kB: long texts are data sets. A text is UTF-8,
  // and said to be; of fixed length, for the library crashes on some damaged files with text of variable length.
  void set_attribute(const std::string& object, const std::string& name, const std::string& value);
  void set_attribute(const std::string& object, const std::string& name, std::int64_t value);
  void set_attribute(const std::string& object, const std::string& name, double value);
  void set_attribute(const std::string& object, const std::string& name, const std::vector<std::int64_t>& values);
  void set_attribute(const std::string& object, const std::string& name, const std::vector<double>& values);

 private:
  File(std::int64_t id, std::string name) : id_(id), name_(std::move(name)) {}

  std::int64_t id_ = -1;  // hid_t
  std::string name_;      // for messages
};

}  // namespace spankey::h5
