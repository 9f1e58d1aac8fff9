// A request to stop, set by a signal. TERM, INT and USR2 are such signals, as are USR1 and XCPU, with which batch
// systems announce the end of the time. HUP is one as well, unless the parent started this process with HUP ignored
// (nohup). The handler sets a flag and does nothing else.
#pragma once

#include <csignal>

namespace spankey::shutdown {

// Installs the handlers and calls ignore_failed_writes(). Call it again after a library has replaced them. SIGCONT is
// left alone.
void install_handlers();

// After this call a write to a pipe without a reader, or beyond the limit of the file size, returns EPIPE or EFBIG
// instead of killing the process. The code that writes then reports what was lost.
void ignore_failed_writes();

// The signals that ignore_failed_writes() ignores. A child process would inherit that although it may rely on these
// signals to end it, so children get the default back.
sigset_t ignored_signals();

// True once a signal has arrived in this process. Ranks agree on it at a step boundary (src/train).
bool requested();

// The signal that came first, 0 if none.
int signal_number();

// Acts as if SIGUSR2 had arrived. The marker file STOP and tests use it.
void request();
void clear();

}  // namespace spankey::shutdown
