#include "train/captured_work.h"

namespace spankey {

void CapturedWork::run(const Constants& constants, const std::function<void()>& work) {
  if (constants != constants_) {
    constants_ = constants;
    eager_steps_ = 0;
    captured_ = false;
  }
  if (!captured_ && eager_steps_ < eager_steps_before_capture) {
    graph_->use(work);
    ++eager_steps_;
    return;
  }
  if (!captured_) graph_->capture(work);
  captured_ = true;
  graph_->replay();
}

}  // namespace spankey
