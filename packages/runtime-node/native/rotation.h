// What rotating rows of one width multiplies by, written down once.
#pragma once
#include <vector>

#include "kernels.h"

namespace duobit {

/** A Rotation and its factors. */
class RotationFactors {
 public:
  /** @throws std::bad_alloc */
  explicit RotationFactors(int width);
  RotationFactors(const RotationFactors&) = delete;
  const Rotation& rotation() const { return rotation_; }

 private:
  std::vector<float> factors_;
  Rotation rotation_;
};

}  // namespace duobit
