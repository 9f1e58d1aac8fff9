// Students: networks of the same architecture, without keys, that learn from somebody's answers. Who answers is what
// tells the attacks apart.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "attack/context.h"
#include "attack/fit.h"

namespace spankey {

// A student sees so many images, whatever their number: images times epochs, in minibatches of largest_full_batch.
inline constexpr std::int64_t student_steps = 200'000 / largest_full_batch;

// The mean over the batch of what `logits`, (n, classes), miss. `targets` are classes, (n) int64, for the cross
// entropy, or probabilities, (n, classes), for the Kullback-Leibler divergence of the student from them at temperature
// 1, which is 0 where the student agrees. A scalar.
at::Tensor student_loss(const at::Tensor& logits, const at::Tensor& targets);

// What a teacher tells: softmax over the class logits, (n, classes), the reject class left out.
at::Tensor class_probabilities(const Output& output, std::int64_t classes);

// `answer` of batches of evaluation_batch rows of `x`, put together, without gradients.
at::Tensor answers_in_batches(const at::Tensor& x, const std::function<at::Tensor(const at::Tensor& batch)>& answer);

// Trains all of `student` by Adam at 1e-3, and leaves it in evaluation mode. BatchNorm takes the statistics of the
// batches. `lesson` has targets for labels. Returns the loss at the end. Throws SearchFailed.
double teach(AttackContext& context, Model& student, const Images& lesson, std::int64_t steps);

}  // namespace spankey
