// A request to stop, set by a signal: TERM, INT, USR2; USR1 and XCPU, with which batch systems announce the end of the
// time; HUP, unless whoever started the process had it ignored (nohup). The handler sets a flag and does nothing else.
#pragma once

#include <csignal>

namespace spankey::shutdown {

// Installs the handlers (again after a library has replaced them), and calls ignore_failed_writes(). SIGCONT is left
// alone.
void install_handlers();

// From here on a write to a pipe without a reader, or beyond the limit of the file size, returns EPIPE or EFBIG instead
// of killing the process: whoever writes tells what was lost.
void ignore_failed_writes();

// The signals that ignore_failed_writes() has ignored. A program that is started inherits that and may rely on dying of
// them: it gets their default back.
sigset_t ignored_signals();

// True once a signal has arrived in this process. Ranks agree on it at a step boundary (src/train).
bool requested();

// The signal that came first, 0 if none.
int signal_number();

// For tests and for the marker file STOP: as if SIGUSR2 had arrived.
void request();
void clear();

}  // namespace spankey::shutdown
