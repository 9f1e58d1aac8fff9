// The communicator over NCCL, with one GPU per rank. Part of the CUDA module.
#pragma once

#include <memory>

#include "dist/communicator.h"

namespace spankey {

// See CudaModule::make_nccl.
std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> host, int device,
                                                     double timeout_seconds);

}  // namespace spankey
