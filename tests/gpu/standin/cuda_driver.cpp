// libcuda, of which LibTorch opens a few functions by itself.
#include <cstddef>

extern "C" {

int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return 0;
}
int cuGetErrorString(int, const char** text) {
  *text = "an error of the stand-in";
  return 0;
}
int cuCtxGetCurrent(void** context) {
  static char one;
  *context = &one;
  return 0;
}
int cuDriverGetVersion(int* version) {
  *version = 13000;
  return 0;
}
// There is no function that LibTorch needs of it.
int cuGetProcAddress_v2(const char*, void** function, int, unsigned long, int* status) {
  *function = nullptr;
  if (status) *status = 1;
  return 0;
}

}  // extern "C"
