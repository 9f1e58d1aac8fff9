#include <cerrno>

#include "base/error.h"
#include "support/expect_error.h"

namespace spankey::system_error_test {
namespace {

TEST(SystemError, TheMachineFailsAndTheCallerIsMistaken) {
  for (const int error : {ENOSPC, EDQUOT, EIO, ESTALE, EROFS, ENOMEM, EMFILE, ENFILE, EAGAIN, ETIMEDOUT, EFBIG, EBUSY,
                          ENODEV, EREMOTEIO, ECONNRESET})
    EXPECT_EQ(exit_code_of(error), ExitCode::run_failed) << system_reason(error);
  for (const int error : {ENOENT, EACCES, EPERM, ENOTDIR, EISDIR, ENAMETOOLONG, ELOOP, EEXIST})
    EXPECT_EQ(exit_code_of(error), ExitCode::bad_input) << system_reason(error);
}

TEST(SystemError, TheSentenceEndsWithTheReason) {
  EXPECT_ERROR(fail_system(ENOSPC, "cannot write {}", "x"), ExitCode::run_failed,
               "cannot write x: No space left on device");
  EXPECT_ERROR(fail_system(std::make_error_code(std::errc::permission_denied), "{} cannot be read", "x"),
               ExitCode::bad_input, "x cannot be read: Permission denied");
}

}  // namespace
}  // namespace spankey::system_error_test
