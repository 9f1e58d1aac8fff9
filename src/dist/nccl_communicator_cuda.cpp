#include "dist/nccl_communicator_cuda.h"

#include <ATen/Context.h>
#include <ATen/cuda/CUDAEvent.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGraphsC10Utils.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/util/Exception.h>
#include <nccl.h>

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "dist/pending_operations.h"
#include "dist/shared_id.h"

namespace spankey {
namespace {

using Clock = std::chrono::steady_clock;

// A non-blocking communicator returns "in progress" from every call. wait_for_answer() waits for the real result.
void check_nccl(ncclResult_t code, const char* expression, int rank, int line) {
  if (code == ncclSuccess || code == ncclInProgress) return;
  // The last error names the peer and the interface, which the code does not.
  const std::string cause = ncclGetLastError(nullptr);
  fail_run("rank {}: {} failed at {}:{}: {}{}{}", rank, expression, __FILE__, line, ncclGetErrorString(code),
           cause.empty() ? "" : ": ", cause);
}

#define SPANKEY_NCCL(rank, expression) check_nccl((expression), #expression, (rank), __LINE__)

constexpr double longest_nap_seconds = 1;
constexpr double naps_per_timeout = 20;
constexpr std::chrono::microseconds nap_while_in_progress{20};
constexpr std::chrono::seconds patience_with_abort{3};

ncclDataType_t nccl_type(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return ncclFloat32;
    case at::kDouble:
      return ncclFloat64;
    case at::kLong:
      return ncclInt64;
    case at::kByte:
      return ncclUint8;
    default:
      fail_run("no NCCL type for {}", at::toString(tensor.scalar_type()));
  }
}

ncclRedOp_t nccl_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return ncclSum;
    case ReduceOp::max:
      return ncclMax;
    case ReduceOp::min:
      return ncclMin;
  }
  fail_run("no NCCL operation for ReduceOp {}", static_cast<int>(op));
}

bool is_capturing() {
  return c10::cuda::currentStreamCaptureStatusMayInitCtx() != c10::cuda::CaptureStatus::None;
}

std::size_t count(const at::Tensor& tensor) {
  return static_cast<std::size_t>(tensor.numel());
}

// Sums in one order whatever NCCL would choose by size and topology. Users' own settings stand.
void pin_algorithm() {
  setenv("NCCL_ALGO", "Ring", /*overwrite=*/0);
  setenv("NCCL_PROTO", "Simple", /*overwrite=*/0);
}

ncclUniqueId exchange_id(Communicator& host) {
  const auto bytes = share_id(host, [] {
    ncclUniqueId id;
    SPANKEY_NCCL(0, ncclGetUniqueId(&id));
    const auto* first = reinterpret_cast<const std::byte*>(&id);
    return std::vector<std::byte>(first, first + sizeof id);
  });
  SPANKEY_CHECK_EQ(bytes.size(), sizeof(ncclUniqueId));
  ncclUniqueId id;
  std::memcpy(&id, bytes.data(), sizeof id);
  return id;
}

// A communicator that blocks would hang where a rank is lost.
ncclConfig_t non_blocking() {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  return config;
}

class NcclCommunicator final : public Communicator {
 public:
  // `part` is what ncclCommSplit() has made of another communicator, for the ranks of `host` in their order. Without it
  // the ranks find each other anew.
  NcclCommunicator(std::unique_ptr<Communicator> host, int device, double timeout_seconds, ncclComm_t part = nullptr)
      : Communicator(host->topology()),
        host_(std::move(host)),
        device_(static_cast<c10::DeviceIndex>(device)),
        timeout_seconds_(timeout_seconds),
        stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/true, device_)),
        comm_(part),
        pending_(timeout_seconds) {
    connect();
    thread_ = std::thread([this] { watch(); });
  }

  ~NcclCommunicator() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
    if (std::uncaught_exceptions() == 0 && finalized()) {
      ncclCommDestroy(comm_);
    } else {
      ncclCommAbort(comm_);  // does not wait for ranks that may be gone
    }
  }

  bool stream_ordered() const override { return true; }

  void join() override {
    if (!last_) return;
    last_->block(c10::cuda::getCurrentCUDAStream(device_));
    last_.reset();  // an event of a capture means nothing outside of it
  }

  // The parts are made over the connections that there are. The order of their ranks is that of the host's parts.
  std::unique_ptr<Communicator> split(int color, int key) override {
    auto part = host_->split(color, key);
    const c10::cuda::CUDAGuard guard(device_);
    auto config = non_blocking();
    {
      const std::lock_guard lock(nccl_mutex_);
      SPANKEY_NCCL(rank(),
                   ncclCommSplit(comm_, part ? color : NCCL_SPLIT_NOCOLOR, part ? part->rank() : 0, &part_, &config));
    }
    wait_for_answer("split");
    if (!part) return nullptr;
    return std::make_unique<NcclCommunicator>(std::move(part), device_, timeout_seconds_,
                                              std::exchange(part_, nullptr));
  }
  void abort(int exit_code) override { host_->abort(exit_code); }
  void set_place(const std::string& place) override { host_->set_place(place); }
  void begin_step(const std::string& place) override { host_->begin_step(place); }

 private:
  void find_ranks() {
    if (at::globalContext().deterministicAlgorithms()) pin_algorithm();
    const auto id = exchange_id(*host_);
    const c10::cuda::CUDAGuard guard(device_);
    auto config = non_blocking();
    SPANKEY_NCCL(rank(), ncclCommInitRankConfig(&comm_, size(), id, rank(), &config));
  }

  void connect() {
    if (!comm_) find_ranks();
    const double limit_seconds = PendingOperations::patience * timeout_seconds_;  // hundreds of ranks take long
    if (wait_for_answer(limit_seconds) != ncclInProgress) return;
    ncclCommAbort(comm_);
    fail_run("rank {}: NCCL has not connected {} ranks after {} s; NCCL_DEBUG=INFO shows what it waits for", rank(),
             size(), limit_seconds);
  }

  // A call of a non-blocking communicator continues in the background. Returns its result, or ncclInProgress after the
  // limit.
  ncclResult_t wait_for_answer(double limit_seconds) {
    const auto limit = Clock::now() + std::chrono::duration<double>(limit_seconds);
    ncclResult_t state = ncclInProgress;
    while (true) {
      {
        const std::lock_guard lock(nccl_mutex_);
        check(state = ask());
      }
      if (state != ncclInProgress || Clock::now() > limit) return state;
      std::this_thread::sleep_for(nap_while_in_progress);
    }
  }

  // The caller holds nccl_mutex_. This is more than a question: NCCL completes a group of calls that has ended and
  // frees it, so that two threads that ask at once would free it twice.
  ncclResult_t ask() {
    ncclResult_t state = ncclSuccess;
    SPANKEY_NCCL(rank(), ncclCommGetAsyncError(comm_, &state));
    return state;
  }
  void check(ncclResult_t state) { SPANKEY_NCCL(rank(), state); }

  // Nothing may be recorded behind a call before NCCL has put its work on the stream. The first call of a kind connects
  // the ranks and so waits for the last of them. It has the same deadline as the operations on the device.
  void wait_for_answer(const char* name) {
    const double limit_seconds = PendingOperations::patience * timeout_seconds_;
    if (wait_for_answer(limit_seconds) == ncclInProgress)
      fail_run("rank {}: NCCL has not started {} after {} s", rank(), name, limit_seconds);
  }

  // All data of this rank has been sent.
  bool finalized() {
    try {
      SPANKEY_NCCL(rank(), ncclCommFinalize(comm_));
      return wait_for_answer(timeout_seconds_) == ncclSuccess;
    } catch (const Error& error) {
      log::warning("{}", error.what());
      return false;
    }
  }

  // Starts `call` behind the current stream's work so far. The allocator must not give the tensors' memory away before
  // it is done. Nothing runs during a capture. A replay is under the deadline of the step, which the host watches.
  template <class Call>
  void start(const char* name, std::initializer_list<at::Tensor> tensors, Call&& call) {
    const c10::cuda::CUDAGuard guard(device_);
    const bool capturing = is_capturing();
    at::cuda::CUDAEvent ready;
    ready.record(c10::cuda::getCurrentCUDAStream(device_));
    ready.block(stream_);
    std::int64_t bytes = 0;
    for (const auto& tensor : tensors) {
      bytes += static_cast<std::int64_t>(tensor.nbytes());
      if (!capturing) c10::cuda::CUDACachingAllocator::recordStream(tensor.storage().data_ptr(), stream_);
    }
    {
      const std::lock_guard lock(nccl_mutex_);
      call();
    }
    wait_for_answer(name);
    last_.emplace();
    last_->record(stream_);
    if (capturing) return;
    auto done = std::make_shared<at::cuda::CUDAEvent>();
    done->record(stream_);
    const std::lock_guard lock(mutex_);
    pending_.add({name, bytes, [done] { return done->query(); }}, Clock::now());
  }

  void do_broadcast(at::Tensor& tensor, int root) override {
    if (tensor.is_cpu()) return host_->broadcast(tensor, root);
    start("broadcast", {tensor}, [&] {
      SPANKEY_NCCL(rank(), ncclBroadcast(tensor.const_data_ptr(), tensor.mutable_data_ptr(), count(tensor),
                                         nccl_type(tensor), root, comm_, stream_));
    });
    join();
  }

  void do_all_reduce(at::Tensor& tensor, ReduceOp op) override {
    if (tensor.is_cpu()) return host_->all_reduce(tensor, op);
    start("all_reduce", {tensor}, [&] {
      SPANKEY_NCCL(rank(), ncclAllReduce(tensor.const_data_ptr(), tensor.mutable_data_ptr(), count(tensor),
                                         nccl_type(tensor), nccl_op(op), comm_, stream_));
    });
  }

  void do_all_gather(const at::Tensor& tensor, at::Tensor& gathered) override {
    if (tensor.is_cpu()) {
      gathered.copy_(host_->all_gather(tensor));
      return;
    }
    start("all_gather", {tensor, gathered}, [&] {
      SPANKEY_NCCL(rank(), ncclAllGather(tensor.const_data_ptr(), gathered.mutable_data_ptr(), count(tensor),
                                         nccl_type(tensor), comm_, stream_));
    });
    join();
  }

  void do_exchange(const at::Tensor& send, at::Tensor& receive, int peer) override {
    if (send.is_cpu()) return host_->exchange(send, receive, peer);
    start("exchange", {send, receive}, [&] {
      SPANKEY_NCCL(rank(), ncclGroupStart());
      SPANKEY_NCCL(rank(), ncclSend(send.const_data_ptr(), count(send), nccl_type(send), peer, comm_, stream_));
      SPANKEY_NCCL(rank(),
                   ncclRecv(receive.mutable_data_ptr(), count(receive), nccl_type(receive), peer, comm_, stream_));
      SPANKEY_NCCL(rank(), ncclGroupEnd());
    });
    join();
  }

  void do_barrier() override { host_->barrier(); }

  // The watching thread. NCCL reports the failure of a peer only when it is asked, and a kernel that waits for a lost
  // peer waits for ever.
  void watch() {
    const std::chrono::duration<double> nap(std::min(longest_nap_seconds, timeout_seconds_ / naps_per_timeout));
    std::unique_lock lock(mutex_);
    try {
      c10::cuda::set_device(device_);  // a thread starts on the first GPU, where its questions would make a context
      while (!changed_.wait_for(lock, nap, [this] { return stop_; })) {
        // The other thread asks by itself after each of its calls.
        if (const std::unique_lock free(nccl_mutex_, std::try_to_lock); free) check(ask());
        if (const auto late = pending_.overdue(Clock::now()))
          fail_run("rank {}: {} of {} bytes over NCCL is not done after {} s", rank(), late->name, late->bytes,
                   pending_.deadline_seconds());
      }
    } catch (const c10::Error& error) {
      end_process(error.what_without_backtrace());
    } catch (const std::exception& error) {
      end_process(error.what());
    }
  }

  // Frees the GPU from the kernels that wait, and ends the run on every rank, whatever hangs in between.
  [[noreturn]] void end_process(const char* sentence) {
    constexpr int exit_code = static_cast<int>(ExitCode::run_failed);
    log::error("{}", sentence);
    log::flush();
    std::thread([] {
      std::this_thread::sleep_for(patience_with_abort);
      std::_Exit(exit_code);
    }).detach();
    ncclCommAbort(comm_);
    host_->abort(exit_code);
    std::_Exit(exit_code);
  }

  std::unique_ptr<Communicator> host_;
  const c10::DeviceIndex device_;
  const double timeout_seconds_;
  c10::cuda::CUDAStream stream_;
  ncclComm_t comm_;
  ncclComm_t part_ = nullptr;                // filled in by NCCL when comm_ has been split
  std::optional<at::cuda::CUDAEvent> last_;  // of the operations that join() has not yet waited for

  std::mutex nccl_mutex_;  // held around every call of NCCL while both threads live; taken after mutex_
  std::mutex mutex_;       // guards what follows
  std::condition_variable changed_;
  PendingOperations pending_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> host, int device,
                                                     double timeout_seconds) {
  return std::make_unique<NcclCommunicator>(std::move(host), device, timeout_seconds);
}

}  // namespace spankey
