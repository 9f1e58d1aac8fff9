// The process that started the ranks of this machine.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/descriptor.h"

namespace spankey {

// The nearest ancestor of this process that is a launcher of parallel programs (mpirun, orted, prted, slurmstepd, a
// hydra proxy), whatever scripts lie between. A rank outlives it for nothing: nobody collects its output or its exit
// code.
class Launcher {
 public:
  Launcher();

  // Readable once it has ended; -1 where there is none, or the kernel is older than 5.3.
  int descriptor() const { return end_.get(); }
  bool is_gone() const;
  // Call right before this rank ends because another is lost: leaves a process behind that gives the launcher some
  // seconds to end as well and then kills it (mpirun waits for ever for the ranks behind a cut cable). Never
  // slurmstepd.
  void must_end() const;

  const std::string& name() const { return name_; }  // "mpirun (process 1234)"

 private:
  pid_t process_ = 0;  // 0: none
  bool ours_ = false;  // belongs to this job alone
  Descriptor end_;
  std::string name_;
};

}  // namespace spankey
