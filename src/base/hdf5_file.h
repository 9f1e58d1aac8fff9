// HDF5 files, read from disk or memory and written to memory.
//
// Nothing here writes to disk. A file is built in memory, image() gives its bytes, and base/file.h commits them, so
// that a crash or a full disk leaves the old file in place. Debian's HDF5 is not thread-safe, so one mutex guards every
// call. Error(bad_input) with file and object is thrown for a user's file that is missing, damaged or of another shape
// than asked for.
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
  // Opens a file for reading.
  static File open(const std::filesystem::path& path);
  // Reads a whole file that is already in memory. Bytes after the HDF5 image are allowed. `name` appears in messages.
  static File from_image(std::span<const std::byte> image, const std::string& name);
  // Creates an empty file in memory.
  static File create();

  ~File();
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;

  // Flushes and returns the bytes of the file. The same sequence of writes gives the same bytes.
  std::vector<std::byte> image();

  bool exists(const std::string& path) const;
  // Sorted names of the sub-groups and of the data sets of a group.
  std::vector<std::string> groups(const std::string& path = "/") const;
  std::vector<std::string> datasets(const std::string& path = "/") const;

  Info info(const std::string& dataset) const;
  // Byte offset of the values in the file, if they are contiguous and have been written.
  std::optional<std::int64_t> offset(const std::string& dataset) const;

  // T is std::uint8_t, std::int32_t, std::int64_t, float or double. The stored type must be T or fit into it without
  // loss.
  template <class T>
  std::vector<T> read(const std::string& dataset) const;
  // Reads values in their stored type. `out` has exactly the size of the data set.
  void read_raw(const std::string& dataset, std::span<std::byte> out) const;
  // Read strings of fixed length. A single string also reads as a list of one.
  std::vector<std::string> read_strings(const std::string& dataset) const;
  std::string read_string(const std::string& dataset) const;

  // Writes a contiguous data set. Missing parent groups are created. Writing to an existing name is a programmer's
  // mistake.
  template <class T>
  void write(const std::string& dataset, std::span<const std::int64_t> shape, std::span<const T> values);
  void write_raw(const std::string& dataset, Type type, std::span<const std::int64_t> shape,
                 std::span<const std::byte> bytes);
  // Write UTF-8 strings and declare them as UTF-8. Their length is fixed, so that they are contiguous in the file like
  // all other values.
  void write_strings(const std::string& dataset, const std::vector<std::string>& strings);
  void write_string(const std::string& dataset, const std::string& text);

  // `object` is a group or a data set, or "/" for the file itself.
  std::vector<std::string> attribute_names(const std::string& object) const;
  bool has_attribute(const std::string& object, const std::string& name) const;
  std::string string_attribute(const std::string& object, const std::string& name) const;
  std::int64_t int_attribute(const std::string& object, const std::string& name) const;
  double double_attribute(const std::string& object, const std::string& name) const;
  // A scalar counts as a list of one.
  std::vector<std::int64_t> ints_attribute(const std::string& object, const std::string& name) const;
  std::vector<double> doubles_attribute(const std::string& object, const std::string& name) const;

  // Replaces an attribute of that name. HDF5 refuses attributes over 64 kB, so long texts are stored as data sets. A
  // text is written and declared as UTF-8. Its length is fixed, because the library crashes on some damaged files with
  // text of variable length.
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
