// Neighbouring numbers that one thread of a kernel reads and writes at once.
#pragma once

#include "base/portable_math.h"

namespace spankey {

template <class T, int width>
struct alignas(sizeof(T) * width) Pack {
  T values[width];
};

// `from` and `to` are aligned as a Pack is.
template <class T, int width>
SPANKEY_HOST_DEVICE Pack<T, width> load(const T* from) {
  return *reinterpret_cast<const Pack<T, width>*>(from);
}

template <class T, int width>
SPANKEY_HOST_DEVICE void store(T* to, const Pack<T, width>& pack) {
  *reinterpret_cast<Pack<T, width>*>(to) = pack;
}

}  // namespace spankey
