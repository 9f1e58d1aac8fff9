#include "diagnose/section.h"

namespace spankey {

const std::vector<DiagnosisSection>& section_table() {
  static const std::vector<DiagnosisSection> table{
#define SPANKEY_DIAGNOSIS_SECTION(name) {#name, measure_##name, name##_text},
#include "diagnose/sections.inc"
#undef SPANKEY_DIAGNOSIS_SECTION
  };
  return table;
}

}  // namespace spankey
