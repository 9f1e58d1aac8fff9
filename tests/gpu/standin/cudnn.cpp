// libcudnn: convolutions through its graph interface, whose heuristics offer three engines, and BatchNorm and pooling
// through functions of their own. Attention is not known: its description is checked by LibTorch's front end, which
// needs answers that only cuDNN has.
#include <cudnn_graph.h>

#include <algorithm>

#include "device.h"

namespace {

struct Handle {
  cudaStream_t stream = nullptr;
};

constexpr std::int64_t engines = 3, workspace_bytes = 1 << 20;

cudnnStatus_t run(const char* name, void* handle) {
  spankey::standin::launch(name, static_cast<Handle*>(handle)->stream);
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = reinterpret_cast<cudnnHandle_t>(new Handle);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete reinterpret_cast<Handle*>(handle);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  reinterpret_cast<Handle*>(handle)->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
  *stream = reinterpret_cast<Handle*>(handle)->stream;
  return CUDNN_STATUS_SUCCESS;
}
std::size_t cudnnGetVersion() {
  return 91900;
}
std::size_t cudnnGetCudartVersion() {
  return 13000;
}
const char* cudnnGetErrorString(cudnnStatus_t) {
  return "an error of the stand-in";
}
void cudnnGetLastErrorString(char* text, std::size_t size) {
  if (size > 0) *text = '\0';
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t, cudnnBackendDescriptor_t* descriptor) {
  *descriptor = new char;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  delete static_cast<char*>(descriptor);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t) {
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t,
                                       cudnnBackendAttributeType_t, std::int64_t, const void*) {
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, std::int64_t wanted, std::int64_t* count,
                                       void* values) {
  std::int64_t found = 0;
  const auto answer = [&](std::int64_t value) {
    found = 1;
    if (values) *static_cast<std::int64_t*>(values) = value;
  };
  if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS) found = wanted > 0 ? std::min(engines, wanted) : engines;
  if (name == CUDNN_ATTR_ENGINECFG_ENGINE) found = 1;
  if (name == CUDNN_ATTR_ENGINE_GLOBAL_INDEX) answer(0);
  if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE || name == CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE)
    answer(workspace_bytes);
  if (count) *count = found;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t, cudnnBackendDescriptor_t) {
  return run("cudnnBackendExecute", handle);
}

// Descriptions that LibTorch hands back and never looks into. The functions take more arguments than are declared here;
// the calling convention lets the rest be.
#define SPANKEY_DESCRIPTOR(kind)                               \
  cudnnStatus_t cudnnCreate##kind##Descriptor(void** result) { \
    *result = new char;                                        \
    return CUDNN_STATUS_SUCCESS;                               \
  }                                                            \
  cudnnStatus_t cudnnDestroy##kind##Descriptor(void* old) {    \
    delete static_cast<char*>(old);                            \
    return CUDNN_STATUS_SUCCESS;                               \
  }
SPANKEY_DESCRIPTOR(Tensor)
SPANKEY_DESCRIPTOR(Activation)
SPANKEY_DESCRIPTOR(Pooling)
#undef SPANKEY_DESCRIPTOR

#define SPANKEY_NOTHING(name)    \
  cudnnStatus_t name() {         \
    return CUDNN_STATUS_SUCCESS; \
  }
SPANKEY_NOTHING(cudnnSetTensorNdDescriptor)
SPANKEY_NOTHING(cudnnSetActivationDescriptor)
SPANKEY_NOTHING(cudnnSetPooling2dDescriptor)
#undef SPANKEY_NOTHING

#define SPANKEY_KERNEL(name)                 \
  cudnnStatus_t name(cudnnHandle_t handle) { \
    return run(#name, handle);               \
  }
SPANKEY_KERNEL(cudnnBatchNormalizationForwardInference)
SPANKEY_KERNEL(cudnnBatchNormalizationForwardTrainingEx)
SPANKEY_KERNEL(cudnnBatchNormalizationBackwardEx)
SPANKEY_KERNEL(cudnnPoolingForward)
#undef SPANKEY_KERNEL

cudnnStatus_t cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(void*, int, int, void*, void*, void*, void*,
                                                                       void*, std::size_t* bytes) {
  *bytes = workspace_bytes;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetBatchNormalizationBackwardExWorkspaceSize(void*, int, int, void*, void*, void*, void*, void*,
                                                                void*, void*, std::size_t* bytes) {
  *bytes = workspace_bytes;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetBatchNormalizationTrainingExReserveSpaceSize(void*, int, int, void*, void*, std::size_t* bytes) {
  *bytes = workspace_bytes;
  return CUDNN_STATUS_SUCCESS;
}

}  // extern "C"
