// A request to stop, set by SIGTERM, SIGINT or SIGUSR2. The handler sets a flag and does nothing else.
#pragma once

namespace spankey::shutdown {

// Installs the handlers (again after a library has replaced them). SIGCONT is left alone.
void install_handlers();

// True once a signal has arrived in this process. Ranks agree on it at a step boundary (src/train).
bool requested();

// The signal that came first, 0 if none.
int signal_number();

// For tests and for the marker file STOP: as if SIGUSR2 had arrived.
void request();
void clear();

}  // namespace spankey::shutdown
