// Signs and scale of a rotation: packages/format/src/rotation.ts says what they are.
#include "rotation.h"

#include <cmath>

namespace duobit {

/** The Rudin-Shapiro sequence: -1 where the binary digits of k hold "11" an odd number of times. */
static float signOf(uint32_t k) { return __builtin_parity(k & k >> 1) ? -1.0f : 1.0f; }

RotationSigns::RotationSigns(int width) : signs_(2 * static_cast<size_t>(width)), rotation_{} {
  int span = 1;
  while (span <= width / 2) span *= 2;
  float *const first = signs_.data(), *const second = first + width;
  for (int k = 0; k < width; ++k) {
    first[k] = signOf(static_cast<uint32_t>(k));
    second[k] = signOf(5 * static_cast<uint32_t>(k));
  }
  rotation_ = {width, span, static_cast<float>(1 / std::sqrt(static_cast<double>(span))), first, second};
}

}  // namespace duobit
