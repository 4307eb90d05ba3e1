// The signs that rows of one width are rotated with, written down once.
#pragma once
#include <vector>

#include "kernels.h"

namespace duobit {

/** A Rotation and its signs. */
class RotationSigns {
 public:
  /** @throws std::bad_alloc */
  explicit RotationSigns(int width);
  RotationSigns(const RotationSigns&) = delete;
  const Rotation& rotation() const { return rotation_; }

 private:
  std::vector<float> signs_;
  Rotation rotation_;
};

}  // namespace duobit
