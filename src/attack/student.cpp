#include "attack/student.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace spankey {

at::Tensor student_loss(const at::Tensor& logits, const at::Tensor& targets) {
  if (targets.dim() == 1) return at::cross_entropy_loss(logits, targets);
  return at::kl_div(at::log_softmax(logits, 1), targets, at::Reduction::Sum) / logits.size(0);
}

at::Tensor class_probabilities(const Output& output, std::int64_t classes) {
  return at::softmax(output.logits.narrow(1, 0, classes), 1);
}

at::Tensor answers_in_batches(const at::Tensor& x, const std::function<at::Tensor(const at::Tensor& batch)>& answer) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> answers;
  for (std::int64_t begin = 0; begin < x.size(0); begin += evaluation_batch)
    answers.push_back(answer(x.narrow(0, begin, std::min(evaluation_batch, x.size(0) - begin))));
  return at::cat(answers);
}

double teach(AttackContext& context, Model& student, const Images& lesson, std::int64_t steps) {
  constexpr double lr = 1e-3;
  student.train();
  const auto loss = [&](const Images& batch) {
    return student_loss(student.forward(batch.x, Injection::none()).logits, batch.labels);
  };
  const double last = context.search(student.parameters(), lesson, loss, lr, steps);
  student.eval();
  return last;
}

}  // namespace spankey
