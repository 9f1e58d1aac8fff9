#include "attack/attacks/weight_row.h"

#include <ATen/ATen.h>

namespace spankey {

Row row_of_weights(AttackContext& context) {
  Row row;
  row.access = context.judge(Injection::none());
  row.detail["denied"] = 1.0 - static_cast<double>(row.access.correct) / static_cast<double>(row.access.samples);
  context.note_correct_key();
  return row;
}

}  // namespace spankey
