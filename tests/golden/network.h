// The networks of the golden files: made with this project's models, filled with closed-form parameters.
#pragma once

#include <memory>
#include <string>

#include "golden/golden.h"
#include "spankey/model.h"

namespace spankey::golden {

// Name of our model for the reference's, "cnn05" or "mlp01_reject"; "" where there is none yet.
std::string model_for(const std::string& reference_name);

// The model with the shapes of `group`'s param_names and param_shapes, which are compared with ours. `width`: of the
// input, for networks on vectors.
std::shared_ptr<Model> make_network(const h5::File& file, const std::string& group, const std::string& reference_name,
                                    std::int64_t width);

void fill_closed(Model& model, const std::string& rule, std::uint64_t seed, at::ScalarType type);

// One (rows, 11) table against the parameters, or against their gradients.
void expect_parameter_checks(Model& model, bool gradients, const at::Tensor& table, double tolerance,
                             const std::string& what);

}  // namespace spankey::golden
