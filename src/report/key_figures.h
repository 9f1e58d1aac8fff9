// The few large figures with which a report opens.
#pragma once

#include <vector>

#include "page/document.h"
#include "report/groups.h"

namespace spankey {

// Accuracy with a correct key, without a key and in the worst case, and the price of entry where the group was
// attacked. The first two are means over seeds. The worst case is that of the worst seed, the price that of the
// cheapest one.
std::vector<KeyFigure> key_figures(const Group& group);

// How far a run that is not finished has come, with the accuracies of its last evaluation. Empty for a finished run.
std::vector<KeyFigure> key_figures(const RunRecord& open);

}  // namespace spankey
