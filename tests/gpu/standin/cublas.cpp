// libcublas. The functions take more arguments than are declared here. Nothing but the handle is looked at, and the
// calling convention lets the rest be.
#include <cstddef>

#include "device.h"

namespace {

struct Handle {
  cudaStream_t stream = nullptr;
};

}  // namespace

extern "C" {

int cublasCreate_v2(Handle** handle) {
  *handle = new Handle;
  return 0;
}
int cublasDestroy_v2(Handle* handle) {
  delete handle;
  return 0;
}
int cublasSetStream_v2(Handle* handle, cudaStream_t stream) {
  handle->stream = stream;
  return 0;
}
int cublasSetWorkspace_v2(Handle*, void*, std::size_t) {
  return 0;
}
int cublasGetMathMode(Handle*, int* mode) {
  *mode = 0;
  return 0;
}
int cublasSetMathMode(Handle*, int) {
  return 0;
}
int cublasGetPointerMode_v2(Handle*, int* mode) {
  *mode = 0;
  return 0;
}
int cublasSetPointerMode_v2(Handle*, int) {
  return 0;
}

#define SPANKEY_PRODUCT(name)                        \
  int name(Handle* handle) {                         \
    spankey::standin::launch(#name, handle->stream); \
    return 0;                                        \
  }
SPANKEY_PRODUCT(cublasGemmEx)
SPANKEY_PRODUCT(cublasSgemm_v2)
SPANKEY_PRODUCT(cublasDgemm_v2)
SPANKEY_PRODUCT(cublasSgemmEx)
SPANKEY_PRODUCT(cublasGemmStridedBatchedEx)
SPANKEY_PRODUCT(cublasSgemmStridedBatched)
SPANKEY_PRODUCT(cublasDgemmStridedBatched)
SPANKEY_PRODUCT(cublasSgemv_v2)
SPANKEY_PRODUCT(cublasDgemv_v2)
SPANKEY_PRODUCT(cublasSdot_v2)
SPANKEY_PRODUCT(cublasDdot_v2)
SPANKEY_PRODUCT(cublasDotEx)
#undef SPANKEY_PRODUCT

}  // extern "C"
