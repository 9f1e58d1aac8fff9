// Finds custom operators in LibTorch's dispatcher, which chooses the kernel of the device.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

namespace spankey {

// Returns the operator of that name, such as "spankey::inject", with the signature `Function`. Keep the result, because
// the search takes a lock. LibTorch throws where there is no such operator, or where its schema is another one.
template <class Function>
c10::TypedOperatorHandle<Function> operator_named(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Function>();
}

}  // namespace spankey
