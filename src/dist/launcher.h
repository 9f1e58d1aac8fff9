// The process that started the ranks of this machine.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/descriptor.h"

namespace spankey {

// The nearest ancestor of this process that is a launcher of parallel programs (mpirun, orted, prted, slurmstepd, a
// hydra proxy), whatever scripts lie between. A rank has no reason to outlive it, because nobody collects its output or
// its exit code any more.
class Launcher {
 public:
  Launcher();

  // The descriptor is readable once the launcher has ended. It is -1 where there is no launcher, or where the kernel is
  // older than 5.3.
  int descriptor() const { return end_.get(); }
  bool is_gone() const;
  // Call this right before this rank ends because another is lost. It leaves a process behind that gives the launcher
  // some seconds to end and then kills it, because mpirun waits for ever for the ranks behind a cut cable. It never
  // kills slurmstepd.
  void must_end() const;

  const std::string& name() const { return name_; }  // "mpirun (process 1234)"

 private:
  pid_t process_ = 0;  // 0 where there is none
  bool ours_ = false;  // belongs to this job alone
  Descriptor end_;
  std::string name_;
};

}  // namespace spankey
