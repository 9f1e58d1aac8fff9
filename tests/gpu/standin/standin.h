// A GPU's driver libraries without a GPU, for tests alone: libcudart, cuBLAS, cuBLASLt, cuDNN and NCCL as far as the
// host can tell. No kernel runs. LibTorch's own CUDA code, the CUDA module and the programs run unchanged on top, so
// that what the host asks of a GPU is checked against the rules of the CUDA runtime: what a capture allows, which
// streams it joins, how large a launch may be, who may talk to NCCL.
//
// Device memory is a range of addresses that the host cannot touch. Since no kernel writes it, it reads as zeros, also
// where something was copied to: a test that looked at numbers would find what the allocator had left there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace spankey::standin {

struct Counts {
  std::int64_t launches = 0;    // of kernels, one by one, in captures too
  std::int64_t replays = 0;     // of captured graphs
  std::int64_t host_waits = 0;  // for a stream, an event, the device, or a copy that is not asynchronous
  std::int64_t copies_to_host = 0;
  std::int64_t collectives = 0;  // of NCCL that reached a stream
  std::int64_t bootstraps = 0;   // communicators of NCCL whose ranks had to find each other
  std::int64_t bytes = 0;        // of device memory now
  std::int64_t peak_bytes = 0;   // of device memory since restart()
};

Counts counts();
// What broke a rule since restart(), one sentence each.
std::vector<std::string> violations();
// Forgets the violations. Counts begin at 0 and the peak at what is allocated now.
void restart();
// The names of the kernels in the graph that was captured last.
std::set<std::string> captured_kernels();
// The communicators of NCCL that live now (ncclComm_t).
std::vector<void*> nccl_communicators();

}  // namespace spankey::standin
