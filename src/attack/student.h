// Students are networks of the same architecture, without keys, that learn from the answers of a teacher. The attacks
// differ in who the teacher is.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

#include "attack/context.h"
#include "attack/fit.h"

namespace spankey {

// The steps that a student takes, whatever the number of images. Each sees a minibatch of largest_full_batch images.
inline constexpr std::int64_t student_steps = 200'000 / largest_full_batch;

// Returns the mean loss of `logits`, (n, classes), over the batch. `targets` are classes, (n) int64, for the cross
// entropy, or probabilities, (n, classes), for the Kullback-Leibler divergence of the student from them at temperature
// 1, which is 0 where the student agrees. A scalar.
at::Tensor student_loss(const at::Tensor& logits, const at::Tensor& targets);

// Returns what a teacher tells, which is the softmax over the class logits, (n, classes), without the reject class.
at::Tensor class_probabilities(const Output& output, std::int64_t classes);

// `answer` of batches of evaluation_batch rows of `x`, put together, without gradients.
at::Tensor answers_in_batches(const at::Tensor& x, const std::function<at::Tensor(const at::Tensor& batch)>& answer);

// Trains all of `student` by Adam at 1e-3, and leaves it in evaluation mode. BatchNorm takes the statistics of the
// batches. `lesson` has targets for labels. Returns the loss at the end. Throws SearchFailed.
double teach(AttackContext& context, Model& student, const Images& lesson, std::int64_t steps);

}  // namespace spankey
