// Signs and scales of a rotation: packages/format/src/rotation.ts says what they are.
#include "rotation.h"

#include <cmath>

namespace duobit {

/** The Rudin-Shapiro sequence: -1 where the binary digits of k hold "11" an odd number of times. */
static float signOf(uint32_t k) { return __builtin_parity(k & k >> 1) ? -1.0f : 1.0f; }

RotationFactors::RotationFactors(int width) : factors_(2 * static_cast<size_t>(width)), rotation_{} {
  int span = 1;
  while (span <= width / 2) span *= 2;
  const float scale = static_cast<float>(1 / std::sqrt(static_cast<double>(span)));
  float *const before = factors_.data(), *const between = before + width;
  for (int k = 0; k < width; ++k) {
    const uint32_t place = static_cast<uint32_t>(k);
    before[k] = signOf(place);
    between[k] = signOf(5 * place) * (k < span ? scale : before[k]);
  }
  rotation_ = {width, span, scale, before, between};
}

}  // namespace duobit
