#include "base/hdf5_file.h"

#include <hdf5.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <mutex>
#include <system_error>
#include <type_traits>
#include <utility>

#include "base/error.h"

namespace spankey::h5 {

static_assert(std::is_same_v<hid_t, std::int64_t>, "File keeps a hid_t in an int64");

namespace {

// Held during every call into the library. The first call switches off the library's own printing to stderr.
class Lock {
 public:
  Lock() : guard_(mutex()) {
    static const bool silent = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
    (void)silent;
  }

 private:
  static std::mutex& mutex() {
    static std::mutex& instance = *new std::mutex;  // outlives static File objects
    return instance;
  }
  std::lock_guard<std::mutex> guard_;
};

// Owns an identifier of the library. Lives inside a Lock.
class Handle {
 public:
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  ~Handle() {
    if (id_ >= 0) close_(id_);
  }
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  Handle& operator=(Handle&&) = delete;
  operator hid_t() const { return id_; }
  bool valid() const { return id_ >= 0; }

 private:
  hid_t id_;
  herr_t (*close_)(hid_t);
};

constexpr std::array all_types = {Type::uint8, Type::int32, Type::int64, Type::float32, Type::float64};

hid_t native(Type type) {
  switch (type) {
    case Type::uint8:
      return H5T_NATIVE_UINT8;
    case Type::int32:
      return H5T_NATIVE_INT32;
    case Type::int64:
      return H5T_NATIVE_INT64;
    case Type::float32:
      return H5T_NATIVE_FLOAT;
    case Type::float64:
      return H5T_NATIVE_DOUBLE;
  }
  return H5I_INVALID_HID;
}

hid_t stored(Type type) {
  switch (type) {
    case Type::uint8:
      return H5T_STD_U8LE;
    case Type::int32:
      return H5T_STD_I32LE;
    case Type::int64:
      return H5T_STD_I64LE;
    case Type::float32:
      return H5T_IEEE_F32LE;
    case Type::float64:
      return H5T_IEEE_F64LE;
  }
  return H5I_INVALID_HID;
}

template <class T>
constexpr Type type_of() {
  if constexpr (std::is_same_v<T, std::uint8_t>) return Type::uint8;
  if constexpr (std::is_same_v<T, std::int32_t>) return Type::int32;
  if constexpr (std::is_same_v<T, std::int64_t>) return Type::int64;
  if constexpr (std::is_same_v<T, float>) return Type::float32;
  if constexpr (std::is_same_v<T, double>) return Type::float64;
}

bool fits(Type from, Type to) {
  if (from == to) return true;
  switch (from) {
    case Type::uint8:
      return true;
    case Type::int32:
      return to == Type::int64 || to == Type::float64;
    case Type::float32:
      return to == Type::float64;
    default:
      return false;
  }
}

Handle access_list(herr_t (*configure)(hid_t) = nullptr) {
  Handle list(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  SPANKEY_CHECK(list.valid());
  if (configure != nullptr) SPANKEY_CHECK_GE(configure(list), 0);
  return list;
}

// The file is made in memory, never on disk. Later format versions give an image that HDF5 1.10.8 itself cannot read
// back.
herr_t in_memory(hid_t list) {
  constexpr std::size_t growth_bytes = std::size_t{4} << 20;
  const herr_t driver = H5Pset_fapl_core(list, growth_bytes, 0);
  return driver < 0 ? driver : H5Pset_libver_bounds(list, H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST);
}

// Our files are committed whole and never changed. They need no lock, and some shared file systems have none.
herr_t without_locking(hid_t list) {
  return H5Pset_file_locking(list, false, true);
}

// HDF5 takes two files in memory with one name for the same file.
std::string unique_name() {
  static std::atomic<std::uint64_t> counter{0};
  return fmt::format("spankey-memory-{}", counter++);
}

constexpr std::size_t superblock_bytes = 48;

std::uint64_t little_endian_64(std::span<const std::byte> bytes) {
  std::uint64_t value;
  std::memcpy(&value, bytes.data(), sizeof(value));
  return value;
}

// Finds out what is wrong with a file, because the library only says that something is. `head` holds up to
// superblock_bytes bytes.
void check_superblock(std::span<const std::byte> head, std::uint64_t file_bytes, const std::string& name) {
  constexpr std::string_view signature = "\x89HDF\r\n\x1a\n";
  if (head.size() < signature.size() || std::memcmp(head.data(), signature.data(), signature.size()) != 0) {
    fail_input("{}: offset 0: expected the HDF5 signature (89 48 44 46 0d 0a 1a 0a): not an HDF5 file", name);
  }
  if (head.size() < superblock_bytes) {
    fail_input("{}: offset {}: expected an HDF5 superblock of {} bytes, the file ends here", name, head.size(),
               superblock_bytes);
  }
  const auto version = std::to_integer<unsigned>(head[8]);
  const std::size_t end_at = version < 2 ? 40 : 28;  // HDF5 file format specification, "end of file address"
  const std::uint64_t end = little_endian_64(head.subspan(end_at));
  if (file_bytes < end) {
    fail_input("{}: offset {}: expected {} bytes of HDF5 (superblock), the file ends here: truncated", name, file_bytes,
               end);
  }
}

std::vector<std::byte> file_head(const std::filesystem::path& path, std::uint64_t& file_bytes) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
    fail_input("cannot open {}: not a regular file", path.string());
  file_bytes = std::filesystem::file_size(path, error);
  if (error) fail_system(error, "cannot open {}", path.string());
  std::ifstream in(path, std::ios::binary);
  if (!in) fail_system(errno, "cannot open {}", path.string());
  std::vector<std::byte> head(std::min<std::uint64_t>(file_bytes, superblock_bytes));
  in.read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(head.size()));
  return head;
}

// A link to another place, in this file or in another one, is never followed. Everything that is read comes from the
// named file and from the requested name.
bool links_are_hard(hid_t file, const std::string& path) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    H5L_info_t link;
    const std::string part = path.substr(0, end);
    if (part != "/" && (H5Lget_info(file, part.c_str(), &link, H5P_DEFAULT) < 0 || link.type != H5L_TYPE_HARD))
      return false;
    if (end == std::string::npos) return true;
  }
}

Handle open_dataset(hid_t file, const std::string& dataset, const std::string& name) {
  Handle handle(links_are_hard(file, dataset) ? H5Dopen2(file, dataset.c_str(), H5P_DEFAULT) : H5I_INVALID_HID,
                H5Dclose);
  if (!handle.valid()) fail_input("{}: data set '{}' is missing or damaged", name, dataset);
  return handle;
}

std::vector<std::int64_t> shape_of(const Handle& space) {
  const int rank = H5Sget_simple_extent_ndims(space);
  std::vector<hsize_t> dims(static_cast<std::size_t>(std::max(rank, 0)));
  if (rank > 0) H5Sget_simple_extent_dims(space, dims.data(), nullptr);
  return {dims.begin(), dims.end()};
}

std::uint64_t bytes_of(const Info& info, const std::string& path, const std::string& name) {
  std::uint64_t bytes = size_bytes(info.type);
  for (const std::int64_t extent : info.shape)
    if (extent < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(extent), &bytes))
      fail_input("{}: data set '{}': no file can hold its shape", name, path);
  return bytes;
}

// The values must be contiguous inside this file, because the library believes any place that a header gives.
void check_place(const Handle& dataset, std::uint64_t bytes, const std::string& path, const std::string& name) {
  const Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  const Handle file(H5Iget_file_id(dataset), H5Fclose);
  hsize_t file_bytes = 0;
  if (!creation.valid() || H5Fget_filesize(file, &file_bytes) < 0)
    fail_input("{}: data set '{}' is damaged", name, path);
  if (H5Pget_layout(creation) != H5D_CONTIGUOUS || H5Pget_external_count(creation) != 0)
    fail_input("{}: data set '{}': expected contiguous values in this file (no chunks, compression or other files)",
               name, path);
  const hsize_t stored_bytes = H5Dget_storage_size(dataset);
  if (bytes != 0 && stored_bytes != bytes)
    fail_input("{}: data set '{}': its shape does not fit the {} bytes stored", name, path, stored_bytes);
  const haddr_t address = H5Dget_offset(dataset);
  if (bytes != 0 && (address == HADDR_UNDEF || address > file_bytes || bytes > file_bytes - address))
    fail_input("{}: data set '{}': its values lie outside of the file", name, path);
}

// Checks the shape against the number of stored bytes, so that damaged sizes do not become an allocation.
Info info_of(const Handle& dataset, const std::string& path, const std::string& name) {
  const Handle type(H5Dget_type(dataset), H5Tclose);
  const Handle space(H5Dget_space(dataset), H5Sclose);
  if (!type.valid() || !space.valid()) fail_input("{}: data set '{}' is damaged", name, path);
  for (const Type candidate : all_types) {
    if (H5Tequal(type, stored(candidate)) <= 0) continue;
    Info info{candidate, shape_of(space)};
    check_place(dataset, bytes_of(info, path, name), path, name);
    return info;
  }
  fail_input("{}: data set '{}': expected elements of type uint8, int32, int64, float32 or float64", name, path);
}

Handle make_space(std::span<const std::int64_t> shape) {
  if (shape.empty()) return {H5Screate(H5S_SCALAR), H5Sclose};
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  return {H5Screate_simple(static_cast<int>(dims.size()), dims.data(), nullptr), H5Sclose};
}

Handle string_type(std::size_t length) {
  Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  SPANKEY_CHECK_GE(H5Tset_size(type, std::max<std::size_t>(1, length)), 0);
  SPANKEY_CHECK_GE(H5Tset_strpad(type, H5T_STR_NULLPAD), 0);
  SPANKEY_CHECK_GE(H5Tset_cset(type, H5T_CSET_UTF8), 0);
  return type;
}

std::string trimmed(const char* text, std::size_t length) {
  return {text, strnlen(text, length)};
}

void create_and_write(hid_t file, const std::string& dataset, hid_t file_type, hid_t memory_type, const Handle& space,
                      const void* values) {
  const Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  SPANKEY_CHECK_GE(H5Pset_create_intermediate_group(links, 1), 0);
  SPANKEY_CHECK_GE(H5Pset_obj_track_times(creation, false), 0);  // equal content, equal bytes
  SPANKEY_CHECK_GE(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), 0);
  SPANKEY_CHECK_GE(H5Pset_alloc_time(creation, H5D_ALLOC_TIME_EARLY), 0);
  const Handle handle(H5Dcreate2(file, dataset.c_str(), file_type, space, links, creation, H5P_DEFAULT), H5Dclose);
  if (!handle.valid()) fail_run("cannot create the HDF5 data set '{}' in memory", dataset);
  if (H5Sget_simple_extent_npoints(space) == 0) return;
  if (H5Dwrite(handle, memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
    fail_run("cannot write the HDF5 data set '{}' in memory", dataset);
  }
}

Handle open_object(hid_t file, const std::string& object, const std::string& name) {
  Handle handle(links_are_hard(file, object) ? H5Oopen(file, object.c_str(), H5P_DEFAULT) : H5I_INVALID_HID, H5Oclose);
  if (!handle.valid()) fail_input("{}: object '{}' is missing or damaged", name, object);
  return handle;
}

Handle open_attribute(const Handle& object, const std::string& path, const std::string& attribute,
                      const std::string& name) {
  Handle handle(H5Aopen(object, attribute.c_str(), H5P_DEFAULT), H5Aclose);
  if (!handle.valid()) fail_input("{}: attribute '{}' of '{}' is missing", name, attribute, path);
  return handle;
}

// The limit of HDF5 for an attribute. A damaged header may claim more.
constexpr std::size_t most_attribute_bytes = std::size_t{64} << 10;

// An IEEE number, or an integer that fills 1, 2, 4 or 8 bytes.
bool is_plain_number(const Handle& type) {
  if (H5Tget_class(type) == H5T_FLOAT) return H5Tequal(type, H5T_IEEE_F32LE) > 0 || H5Tequal(type, H5T_IEEE_F64LE) > 0;
  const std::size_t size = H5Tget_size(type);
  return size <= 8 && std::has_single_bit(size) && H5Tget_precision(type) == 8 * size && H5Tget_offset(type) == 0;
}

// Reads a numeric attribute converted to `memory_type`; integers convert to double, and only integers and enumerations
// convert to integers (how h5py stores a bool).
template <class T>
std::vector<T> read_attribute(hid_t file, const std::string& path, const std::string& attribute, hid_t memory_type,
                              const std::string& name) {
  const Handle object = open_object(file, path, name);
  const Handle handle = open_attribute(object, path, attribute, name);
  const Handle type(H5Aget_type(handle), H5Tclose);
  const Handle space(H5Aget_space(handle), H5Sclose);
  const H5T_class_t kind = H5Tget_class(type);
  const bool integral = kind == H5T_INTEGER || kind == H5T_ENUM;
  if (!integral && !(std::is_floating_point_v<T> && kind == H5T_FLOAT)) {
    fail_input("{}: attribute '{}' of '{}': expected {}", name, attribute, path,
               std::is_floating_point_v<T> ? "a number" : "an integer");
  }
  const Handle base(kind == H5T_ENUM ? H5Tget_super(type) : H5Tcopy(type), H5Tclose);
  // The library converts types of any width, offset and precision as the file describes them, and overruns its buffers
  // where the description contradicts itself.
  if (!is_plain_number(base))
    fail_input("{}: attribute '{}' of '{}': not a number of 1 to 8 bytes", name, attribute, path);
  const hssize_t count = H5Sget_simple_extent_npoints(space);
  if (count < 0 || static_cast<std::size_t>(count) > most_attribute_bytes / H5Tget_size(type))
    fail_input("{}: attribute '{}' of '{}' is damaged: {} values do not fit into 64 kB", name, attribute, path, count);
  std::vector<T> values(static_cast<std::size_t>(count));
  if (values.empty()) return values;
  // Values are read in the stored width and then converted in place, because an enumeration has no conversion of its
  // own.
  std::vector<std::byte> buffer(values.size() * std::max(sizeof(T), H5Tget_size(type)));
  if (H5Aread(handle, type, buffer.data()) < 0 ||
      H5Tconvert(base, memory_type, values.size(), buffer.data(), nullptr, H5P_DEFAULT) < 0) {
    fail_input("{}: attribute '{}' of '{}' is damaged", name, attribute, path);
  }
  std::memcpy(values.data(), buffer.data(), values.size() * sizeof(T));
  return values;
}

template <class T>
T single(const std::vector<T>& values, const std::string& path, const std::string& attribute, const std::string& name) {
  if (values.size() != 1) {
    fail_input("{}: attribute '{}' of '{}': expected one value, found {}", name, attribute, path, values.size());
  }
  return values.front();
}

void write_attribute(hid_t file, const std::string& path, const std::string& attribute, hid_t file_type,
                     hid_t memory_type, const Handle& space, const void* values) {
  const Handle object(H5Oopen(file, path.c_str(), H5P_DEFAULT), H5Oclose);
  if (!object.valid()) fail_run("no HDF5 object '{}' to give the attribute '{}' to", path, attribute);
  if (H5Aexists(object, attribute.c_str()) > 0) H5Adelete(object, attribute.c_str());
  const Handle handle(H5Acreate2(object, attribute.c_str(), file_type, space, H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  if (!handle.valid()) fail_run("cannot create the attribute '{}' of '{}' (64 kB is the limit)", attribute, path);
  if (H5Sget_simple_extent_npoints(space) == 0) return;
  if (H5Awrite(handle, memory_type, values) < 0) fail_run("cannot write the attribute '{}' of '{}'", attribute, path);
}

// Names of the members of a group that are of one kind, sorted.
std::vector<std::string> members(hid_t file, const std::string& path, H5O_type_t kind, const std::string& name) {
  const Handle group(links_are_hard(file, path) ? H5Gopen2(file, path.c_str(), H5P_DEFAULT) : H5I_INVALID_HID,
                     H5Gclose);
  if (!group.valid()) fail_input("{}: group '{}' is missing or damaged", name, path);
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* member, const H5L_info_t* link, void* data) -> herr_t {
    if (link->type == H5L_TYPE_HARD) static_cast<std::vector<std::string>*>(data)->emplace_back(member);
    return 0;
  };
  if (H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, nullptr, collect, &names) < 0) {
    fail_input("{}: group '{}' is damaged", name, path);
  }
  std::erase_if(names, [&](const std::string& member) {
    H5O_info_t object;
    return H5Oget_info_by_name2(group, member.c_str(), &object, H5O_INFO_BASIC, H5P_DEFAULT) < 0 || object.type != kind;
  });
  std::sort(names.begin(), names.end());
  return names;
}

// Reads strings of fixed length. The rank of the data set is 0 for a single string, otherwise it is a list.
std::vector<std::string> strings_of(hid_t file, const std::string& dataset, std::size_t rank, const std::string& name) {
  const Handle handle = open_dataset(file, dataset, name);
  const Handle type(H5Dget_type(handle), H5Tclose);
  const Handle space(H5Dget_space(handle), H5Sclose);
  const auto shape = shape_of(space);
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) > 0 || shape.size() > rank ||
      H5Sget_simple_extent_type(space) == H5S_NULL)
    fail_input("{}: data set '{}': expected {} of fixed length", name, dataset,
               rank == 0 ? "one string" : "a list of strings");
  const Info info{Type::uint8, {shape.empty() ? 1 : shape[0], static_cast<std::int64_t>(H5Tget_size(type))}};
  check_place(handle, bytes_of(info, dataset, name), dataset, name);
  const auto length = static_cast<std::size_t>(info.shape[1]), count = static_cast<std::size_t>(info.shape[0]);
  std::vector<char> characters(length * count);
  if (count != 0 && H5Dread(handle, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, characters.data()) < 0)
    fail_input("{}: data set '{}' cannot be read: damaged", name, dataset);
  std::vector<std::string> strings;
  for (std::size_t i = 0; i < count; ++i) strings.push_back(trimmed(characters.data() + i * length, length));
  return strings;
}

// H5Lexists wants every parent to exist.
bool link_exists(hid_t file, const std::string& path) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    if (H5Lexists(file, path.substr(0, end).c_str(), H5P_DEFAULT) <= 0) return false;
  }
  return path == "/" || H5Lexists(file, path.c_str(), H5P_DEFAULT) > 0;
}

}  // namespace

std::string_view to_string(Type type) {
  switch (type) {
    case Type::uint8:
      return "uint8";
    case Type::int32:
      return "int32";
    case Type::int64:
      return "int64";
    case Type::float32:
      return "float32";
    case Type::float64:
      return "float64";
  }
  return "?";
}

std::size_t size_bytes(Type type) {
  switch (type) {
    case Type::uint8:
      return 1;
    case Type::int32:
    case Type::float32:
      return 4;
    case Type::int64:
    case Type::float64:
      return 8;
  }
  return 0;
}

std::int64_t Info::elements() const {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

File File::open(const std::filesystem::path& path) {
  std::uint64_t file_bytes = 0;
  const auto head = file_head(path, file_bytes);
  check_superblock(head, file_bytes, path.string());
  const Lock lock;
  const Handle access = access_list(without_locking);
  const hid_t id = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access);
  if (id < 0) fail_input("{}: damaged HDF5 file: the library cannot open it", path.string());
  return {id, path.string()};
}

File File::from_image(std::span<const std::byte> image, const std::string& name) {
  check_superblock(image.first(std::min(image.size(), superblock_bytes)), image.size(), name);
  const Lock lock;
  const Handle access = access_list(in_memory);
  // The library copies the bytes. Its parameter is not const, but nothing is written.
  SPANKEY_CHECK_GE(H5Pset_file_image(access, const_cast<std::byte*>(image.data()), image.size()), 0);
  const hid_t id = H5Fopen(unique_name().c_str(), H5F_ACC_RDONLY, access);
  if (id < 0) fail_input("{}: damaged HDF5 file: the library cannot open it", name);
  return {id, name};
}

File File::create() {
  const Lock lock;
  const Handle access = access_list(in_memory);
  const hid_t id = H5Fcreate(unique_name().c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access);
  if (id < 0) fail_run("cannot create an HDF5 file in memory");
  return {id, "(memory)"};
}

File::~File() {
  if (id_ < 0) return;
  const Lock lock;
  H5Fclose(id_);
}

File::File(File&& other) noexcept : id_(std::exchange(other.id_, -1)), name_(std::move(other.name_)) {}

File& File::operator=(File&& other) noexcept {
  std::swap(id_, other.id_);
  std::swap(name_, other.name_);
  return *this;
}

std::vector<std::byte> File::image() {
  const Lock lock;
  if (H5Fflush(id_, H5F_SCOPE_GLOBAL) < 0) fail_run("cannot flush an HDF5 file in memory");
  const ssize_t size = H5Fget_file_image(id_, nullptr, 0);
  if (size < 0) fail_run("cannot take the image of an HDF5 file in memory");
  std::vector<std::byte> bytes(static_cast<std::size_t>(size));
  SPANKEY_CHECK_EQ(H5Fget_file_image(id_, bytes.data(), bytes.size()), size);
  return bytes;
}

bool File::exists(const std::string& path) const {
  const Lock lock;
  return link_exists(id_, path);
}

std::vector<std::string> File::groups(const std::string& path) const {
  const Lock lock;
  return members(id_, path, H5O_TYPE_GROUP, name_);
}

std::vector<std::string> File::datasets(const std::string& path) const {
  const Lock lock;
  return members(id_, path, H5O_TYPE_DATASET, name_);
}

Info File::info(const std::string& dataset) const {
  const Lock lock;
  return info_of(open_dataset(id_, dataset, name_), dataset, name_);
}

std::optional<std::int64_t> File::offset(const std::string& dataset) const {
  const Lock lock;
  const haddr_t address = H5Dget_offset(open_dataset(id_, dataset, name_));
  if (address == HADDR_UNDEF) return std::nullopt;
  return static_cast<std::int64_t>(address);
}

template <class T>
std::vector<T> File::read(const std::string& dataset) const {
  const Lock lock;
  const Handle handle = open_dataset(id_, dataset, name_);
  const Info info = info_of(handle, dataset, name_);
  constexpr Type wanted = type_of<T>();
  if (!fits(info.type, wanted)) {
    fail_input("{}: data set '{}': expected {}, found {}", name_, dataset, to_string(wanted), to_string(info.type));
  }
  std::vector<T> values(static_cast<std::size_t>(info.elements()));
  if (!values.empty() && H5Dread(handle, native(wanted), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()) < 0) {
    fail_input("{}: data set '{}' cannot be read: damaged", name_, dataset);
  }
  return values;
}

void File::read_raw(const std::string& dataset, std::span<std::byte> out) const {
  const Lock lock;
  const Handle handle = open_dataset(id_, dataset, name_);
  const Info info = info_of(handle, dataset, name_);
  SPANKEY_CHECK_EQ(out.size(), static_cast<std::size_t>(info.elements()) * size_bytes(info.type));
  if (!out.empty() && H5Dread(handle, native(info.type), H5S_ALL, H5S_ALL, H5P_DEFAULT, out.data()) < 0) {
    fail_input("{}: data set '{}' cannot be read: damaged", name_, dataset);
  }
}

std::vector<std::string> File::read_strings(const std::string& dataset) const {
  const Lock lock;
  return strings_of(id_, dataset, /*rank=*/1, name_);
}

std::string File::read_string(const std::string& dataset) const {
  const Lock lock;
  return strings_of(id_, dataset, /*rank=*/0, name_).front();
}

template <class T>
void File::write(const std::string& dataset, std::span<const std::int64_t> shape, std::span<const T> values) {
  write_raw(dataset, type_of<T>(), shape, std::as_bytes(values));
}

void File::write_raw(const std::string& dataset, Type type, std::span<const std::int64_t> shape,
                     std::span<const std::byte> bytes) {
  const Info info{type, {shape.begin(), shape.end()}};
  SPANKEY_CHECK_EQ(bytes.size(), static_cast<std::size_t>(info.elements()) * size_bytes(type));
  const Lock lock;
  create_and_write(id_, dataset, stored(type), native(type), make_space(shape), bytes.data());
}

void File::write_strings(const std::string& dataset, const std::vector<std::string>& strings) {
  std::size_t length = 1;
  for (const std::string& text : strings) length = std::max(length, text.size());
  std::vector<char> characters(length * strings.size(), '\0');
  for (std::size_t i = 0; i < strings.size(); ++i) {
    std::copy(strings[i].begin(), strings[i].end(), characters.begin() + static_cast<std::ptrdiff_t>(i * length));
  }
  const Lock lock;
  const Handle type = string_type(length);
  const auto count = static_cast<std::int64_t>(strings.size());
  create_and_write(id_, dataset, type, type, make_space(std::span(&count, 1)), characters.data());
}

void File::write_string(const std::string& dataset, const std::string& text) {
  const Lock lock;
  const Handle type = string_type(text.size());
  create_and_write(id_, dataset, type, type, make_space({}), text.c_str());  // an empty one is a single zero
}

std::vector<std::string> File::attribute_names(const std::string& object) const {
  const Lock lock;
  const Handle handle = open_object(id_, object, name_);
  std::vector<std::string> names;
  const auto collect = [](hid_t, const char* attribute, const H5A_info_t*, void* data) -> herr_t {
    static_cast<std::vector<std::string>*>(data)->emplace_back(attribute);
    return 0;
  };
  if (H5Aiterate2(handle, H5_INDEX_NAME, H5_ITER_INC, nullptr, collect, &names) < 0) {
    fail_input("{}: the attributes of '{}' are damaged", name_, object);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool File::has_attribute(const std::string& object, const std::string& name) const {
  const Lock lock;
  return H5Aexists(open_object(id_, object, name_), name.c_str()) > 0;
}

std::string File::string_attribute(const std::string& object, const std::string& name) const {
  const Lock lock;
  const Handle owner = open_object(id_, object, name_);
  const Handle handle = open_attribute(owner, object, name, name_);
  const Handle type(H5Aget_type(handle), H5Tclose);
  const Handle space(H5Aget_space(handle), H5Sclose);
  if (H5Tget_class(type) != H5T_STRING || H5Sget_simple_extent_npoints(space) != 1 ||
      H5Tget_size(type) > most_attribute_bytes) {
    fail_input("{}: attribute '{}' of '{}': expected one string of at most 64 kB", name_, name, object);
  }
  if (H5Tis_variable_str(type) > 0) {
    char* text = nullptr;
    if (H5Aread(handle, type, &text) < 0) fail_input("{}: attribute '{}' of '{}' is damaged", name_, name, object);
    std::string value = text != nullptr ? text : "";
    H5free_memory(text);
    return value;
  }
  std::vector<char> text(H5Tget_size(type));
  if (H5Aread(handle, type, text.data()) < 0) fail_input("{}: attribute '{}' of '{}' is damaged", name_, name, object);
  return trimmed(text.data(), text.size());
}

std::int64_t File::int_attribute(const std::string& object, const std::string& name) const {
  return single(ints_attribute(object, name), object, name, name_);
}

double File::double_attribute(const std::string& object, const std::string& name) const {
  return single(doubles_attribute(object, name), object, name, name_);
}

std::vector<std::int64_t> File::ints_attribute(const std::string& object, const std::string& name) const {
  const Lock lock;
  return read_attribute<std::int64_t>(id_, object, name, H5T_NATIVE_INT64, name_);
}

std::vector<double> File::doubles_attribute(const std::string& object, const std::string& name) const {
  const Lock lock;
  return read_attribute<double>(id_, object, name, H5T_NATIVE_DOUBLE, name_);
}

void File::set_attribute(const std::string& object, const std::string& name, const std::string& value) {
  const Lock lock;
  const Handle type = string_type(value.size());
  // The length is at least one byte, so that an empty string is stored as a single zero.
  write_attribute(id_, object, name, type, type, make_space({}), value.c_str());
}

void File::set_attribute(const std::string& object, const std::string& name, std::int64_t value) {
  const Lock lock;
  write_attribute(id_, object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, make_space({}), &value);
}

void File::set_attribute(const std::string& object, const std::string& name, double value) {
  const Lock lock;
  write_attribute(id_, object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, make_space({}), &value);
}

void File::set_attribute(const std::string& object, const std::string& name, const std::vector<std::int64_t>& values) {
  const auto count = static_cast<std::int64_t>(values.size());
  const Lock lock;
  write_attribute(id_, object, name, H5T_STD_I64LE, H5T_NATIVE_INT64, make_space(std::span(&count, 1)), values.data());
}

void File::set_attribute(const std::string& object, const std::string& name, const std::vector<double>& values) {
  const auto count = static_cast<std::int64_t>(values.size());
  const Lock lock;
  write_attribute(id_, object, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, make_space(std::span(&count, 1)),
                  values.data());
}

template std::vector<std::uint8_t> File::read(const std::string&) const;
template std::vector<std::int32_t> File::read(const std::string&) const;
template std::vector<std::int64_t> File::read(const std::string&) const;
template std::vector<float> File::read(const std::string&) const;
template std::vector<double> File::read(const std::string&) const;
template void File::write(const std::string&, std::span<const std::int64_t>, std::span<const std::uint8_t>);
template void File::write(const std::string&, std::span<const std::int64_t>, std::span<const std::int32_t>);
template void File::write(const std::string&, std::span<const std::int64_t>, std::span<const std::int64_t>);
template void File::write(const std::string&, std::span<const std::int64_t>, std::span<const float>);
template void File::write(const std::string&, std::span<const std::int64_t>, std::span<const double>);

}  // namespace spankey::h5
