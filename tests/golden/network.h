// The networks of the golden files: made with this project's models, filled with closed-form parameters.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "golden/golden.h"
#include "spankey/models/model.h"

namespace spankey::golden {

// Name of our model for the reference's, "cnn05" or "resnet18_04_aux".
std::string model_for(const std::string& reference_name);

// `width`: of the input, for networks on vectors.
std::vector<std::int64_t> sample_shape(const std::string& reference_name, std::int64_t width);

// The model with the shapes of `group`'s param_names and param_shapes, which are compared with ours, as are the
// names of its buffers.
std::shared_ptr<Model> make_network(const h5::File& file, const std::string& group, const std::string& reference_name,
                                    std::int64_t width);

// Returns the tolerance of float32 gradients against the float64 ones. In a deep ReLU network rounding decides on which
// side of zero some activation falls, and one that changes sides moves gradients by a hundredth.
double float_gradient_tolerance(const std::string& reference_name);

// Parameters and running statistics.
void fill_closed(Model& model, const std::string& rule, std::uint64_t seed, at::ScalarType type);

// One (rows, 11) table against the parameters, or against their gradients.
void expect_parameter_checks(Model& model, bool gradients, const at::Tensor& table, double tolerance,
                             const std::string& what);

void expect_buffer_checks(Model& model, const at::Tensor& table, double tolerance, const std::string& what);

}  // namespace spankey::golden
