// The host's twin of CUDA's header.
#pragma once

#include "cuda_on_host.h"
