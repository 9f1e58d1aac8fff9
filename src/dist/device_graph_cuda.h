// DeviceGraph as a CUDA graph. Part of the CUDA module.
#pragma once

#include <memory>

#include "dist/device_graph.h"

namespace spankey {

// See CudaModule::make_graph.
std::unique_ptr<DeviceGraph> make_cuda_graph();

}  // namespace spankey
