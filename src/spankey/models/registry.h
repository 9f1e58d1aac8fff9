// The networks by name. A network is one file of this folder and one line of config/networks.inc.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "spankey/models/model.h"

namespace spankey {

// Case does not matter. Error(bad_input) names an unknown model or a sample shape that it does not take.
std::shared_ptr<Model> make_model(const std::string& name, const ModelOptions& options);
std::vector<std::string> model_names();

// The networks, each explained in its file. make_model() has looked at the shape of the samples.
#define SPANKEY_NETWORK(name, make, ...) std::shared_ptr<Model> make(const ModelOptions& options);
#include "config/networks.inc"
#undef SPANKEY_NETWORK

}  // namespace spankey
