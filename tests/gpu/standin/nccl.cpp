// libnccl with non-blocking communicators. A call is in progress until a thread of its own has put the work on the
// stream. As in NCCL 2.28, whoever then asks for its state completes the call and frees what belonged to it. Two
// threads in one communicator at once would free it twice: that breaks a rule here. No data travel.
#include <nccl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "device.h"

using spankey::standin::Locked;

struct ncclComm {
  // A call that has begun. Its thread sets `done`.
  struct Job {
    std::atomic<bool> done{false};
    std::thread thread;
    ~Job() { thread.join(); }
  };
  int ranks = 0;
  std::atomic<int> threads_inside{0};
  std::unique_ptr<Job> job;
};

namespace {

constexpr std::chrono::microseconds work{200}, cleaning{100};

// A thread in a communicator.
class Inside {
 public:
  explicit Inside(ncclComm* communicator) : communicator_(communicator), alone_(communicator->threads_inside++ == 0) {
    if (!alone_)
      Locked()->violate("two threads are in one NCCL communicator at once, and a finished call is freed twice");
  }
  bool alone() const { return alone_; }
  ~Inside() { --communicator_->threads_inside; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  ncclComm* communicator_;
  bool alone_;
};

// `last`: done by the call's own thread, before the call is complete.
ncclResult_t begin(ncclComm* communicator, const std::string& name, cudaStream_t stream, bool on_stream,
                   std::function<void()> last = {}) {
  const Inside inside(communicator);
  if (!inside.alone()) return ncclInvalidUsage;
  if (communicator->job) {
    Locked()->violate(name + " while another call of NCCL is in progress");
    return ncclInvalidUsage;
  }
  communicator->job = std::make_unique<ncclComm::Job>();
  auto& job = *communicator->job;
  job.thread = std::thread([&job, name, stream, on_stream, last = std::move(last)] {
    std::this_thread::sleep_for(work);
    if (on_stream) {
      spankey::standin::launch(name, stream);
      ++Locked()->counts.collectives;
    }
    if (last) last();
    job.done = true;
  });
  return ncclInProgress;
}

// The calls of a group are one call.
struct Group {
  int depth = 0;
  ncclComm* communicator = nullptr;
  std::string name;
  cudaStream_t stream = nullptr;
};
thread_local Group group;

ncclResult_t collective(const char* name, ncclComm* communicator, cudaStream_t stream) {
  if (group.depth == 0) return begin(communicator, name, stream, communicator->ranks > 1);
  group.communicator = communicator;
  group.name += name;
  group.stream = stream;
  return ncclSuccess;
}

ncclComm* make(int ranks, const ncclConfig_t* config) {
  auto* communicator = new ncclComm;
  communicator->ranks = ranks;
  const Locked device;
  device->communicators.insert(communicator);
  if (!config || config->blocking != 0)
    device->violate("a communicator of NCCL that blocks: a lost rank would hang it");
  return communicator;
}

void destroy(ncclComm* communicator) {
  Locked()->communicators.erase(communicator);
  delete communicator;
}

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::memset(id, 1, sizeof *id);
  return ncclSuccess;
}
const char* ncclGetErrorString(ncclResult_t) {
  return "an error of the stand-in";
}
const char* ncclGetLastError(ncclComm_t) {
  return "";
}
ncclResult_t ncclCommInitRankConfig(ncclComm_t* communicator, int ranks, ncclUniqueId, int, ncclConfig_t* config) {
  *communicator = make(ranks, config);
  ++Locked()->counts.bootstraps;
  return begin(*communicator, "init", nullptr, false);
}
// As in NCCL, the part is there when the call on the whole is complete. How many ranks it has is not known here: as
// many as the whole.
ncclResult_t ncclCommSplit(ncclComm_t whole, int color, int, ncclComm_t* part, ncclConfig_t* config) {
  *part = nullptr;
  ncclComm* made = color == NCCL_SPLIT_NOCOLOR ? nullptr : make(whole->ranks, config);
  return begin(whole, "split", nullptr, false, [part, made] { *part = made; });
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t communicator, ncclResult_t* state) {
  const Inside inside(communicator);
  *state = ncclInProgress;
  if (!inside.alone()) return ncclSuccess;
  *state = communicator->job ? ncclInProgress : ncclSuccess;
  if (!communicator->job || !communicator->job->done) return ncclSuccess;
  std::this_thread::sleep_for(cleaning);  // long enough for a second thread to be seen
  communicator->job.reset();
  *state = ncclSuccess;
  return ncclSuccess;
}
ncclResult_t ncclCommFinalize(ncclComm_t communicator) {
  return begin(communicator, "finalize", nullptr, false);
}
ncclResult_t ncclCommDestroy(ncclComm_t communicator) {
  destroy(communicator);
  return ncclSuccess;
}
ncclResult_t ncclCommAbort(ncclComm_t communicator) {
  destroy(communicator);
  return ncclSuccess;
}
ncclResult_t ncclGroupStart() {
  ++group.depth;
  return ncclSuccess;
}
ncclResult_t ncclGroupEnd() {
  if (--group.depth > 0) return ncclSuccess;
  const auto whole = std::exchange(group, {});
  return whole.communicator ? begin(whole.communicator, whole.name, whole.stream, true) : ncclSuccess;
}
ncclResult_t ncclAllReduce(const void*, void*, std::size_t, ncclDataType_t, ncclRedOp_t, ncclComm_t communicator,
                           cudaStream_t stream) {
  return collective("ncclAllReduce", communicator, stream);
}
ncclResult_t ncclBroadcast(const void*, void*, std::size_t, ncclDataType_t, int, ncclComm_t communicator,
                           cudaStream_t stream) {
  return collective("ncclBroadcast", communicator, stream);
}
ncclResult_t ncclAllGather(const void*, void*, std::size_t, ncclDataType_t, ncclComm_t communicator,
                           cudaStream_t stream) {
  return collective("ncclAllGather", communicator, stream);
}
ncclResult_t ncclSend(const void*, std::size_t, ncclDataType_t, int, ncclComm_t communicator, cudaStream_t stream) {
  return collective("ncclSend", communicator, stream);
}
ncclResult_t ncclRecv(void*, std::size_t, ncclDataType_t, int, ncclComm_t communicator, cudaStream_t stream) {
  return collective("ncclRecv", communicator, stream);
}

}  // extern "C"
