// Custom operators, called through LibTorch's dispatcher, which chooses the kernel of the device.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace spankey {

// The operator of that name ("spankey::inject") with the signature `Function`, to be kept: the search takes a lock. An
// exception of LibTorch where there is none, or where its schema is another.
template <class Function>
c10::TypedOperatorHandle<Function> operator_named(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Function>();
}

}  // namespace spankey
