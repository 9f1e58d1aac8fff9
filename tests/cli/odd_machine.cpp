// A machine or file system with a fault, in front of the real one (LD_PRELOAD). SPANKEY_TEST_FAULT = CALL:ERRNO lets
// every such call fail: mkdir, fsync_file, fsync_folder; statvfs:0 knows no sizes.
#include <dlfcn.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

// The errno that `call` is to fail with; -1: none.
int fault_of(std::string_view call) {
  const char* text = std::getenv("SPANKEY_TEST_FAULT");
  if (!text || !std::string_view(text).starts_with(std::string(call) + ":")) return -1;
  return std::atoi(text + call.size() + 1);
}

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

int fail_with(int error) {
  errno = error;
  return -1;
}

}  // namespace

extern "C" {

int mkdir(const char* path, mode_t mode) {
  if (const int error = fault_of("mkdir"); error >= 0) return fail_with(error);
  return real<int (*)(const char*, mode_t)>("mkdir")(path, mode);
}

int fsync(int fd) {
  struct stat status {};
  const bool folder = fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
  if (const int error = fault_of(folder ? "fsync_folder" : "fsync_file"); error >= 0) return fail_with(error);
  return real<int (*)(int)>("fsync")(fd);
}

int statvfs(const char* path, struct statvfs* status) {
  const int result = real<int (*)(const char*, struct statvfs*)>("statvfs")(path, status);
  if (fault_of("statvfs") >= 0) status->f_blocks = status->f_bfree = status->f_bavail = 0;
  return result;
}

}  // extern "C"
