#include "dist/device_graph.h"

#include "base/error.h"

namespace spankey {
namespace {

class EagerGraph final : public DeviceGraph {
 public:
  void capture(const std::function<void()>& work) override { work_ = work; }
  void replay() override {
    if (!work_) fail_run("replay of a device graph in which nothing is recorded");
    work_();
  }
  void use(const std::function<void()>& work) override { work(); }

 private:
  std::function<void()> work_;
};

}  // namespace

std::unique_ptr<DeviceGraph> make_eager_graph() {
  return std::make_unique<EagerGraph>();
}

}  // namespace spankey
