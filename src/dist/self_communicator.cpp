#include "dist/self_communicator.h"

#include <cstdlib>

#include "base/log.h"

namespace spankey {
namespace {

class SelfCommunicator final : public Communicator {
 public:
  SelfCommunicator() : Communicator({.rank = 0, .size = 1, .local_rank = 0, .local_size = 1}) {}

  std::unique_ptr<Communicator> split(int color, int) override {
    return color < 0 ? nullptr : std::make_unique<SelfCommunicator>();
  }
  void abort(int exit_code) override {
    log::flush();
    std::_Exit(exit_code);
  }
  void set_place(const std::string&) override {}
  void begin_step(const std::string&) override {}

 private:
  void do_broadcast(at::Tensor&, int) override {}
  void do_all_reduce(at::Tensor&, ReduceOp) override {}
  void do_all_gather(const at::Tensor& tensor, at::Tensor& gathered) override { gathered[0].copy_(tensor); }
  // The contract excludes oneself as the peer, so no call arrives here.
  void do_exchange(const at::Tensor&, at::Tensor&, int) override {}
  void do_barrier() override {}
};

}  // namespace

std::unique_ptr<Communicator> make_self_communicator(double) {
  return std::make_unique<SelfCommunicator>();
}

}  // namespace spankey
