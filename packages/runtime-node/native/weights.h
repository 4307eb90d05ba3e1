// Packs weights from the planes of a container into the layouts of kernels.h.
#pragma once
#include <cstdint>

#include "kernels.h"
#include "memory.h"

namespace duobit {

enum class WeightKind { Vector, Dense, Integer, W11 };
enum class DenseKind { F32, F16, BF16 };

struct Weight {
  WeightKind kind;
  int rows, columns;
  Memory memory, sums;
  DenseMatrix dense{};
  IntegerMatrix integer{};
  W11Matrix w11{};
  const float* vector() const { return memory.as<float>(); }
  size_t bytes() const { return memory.size() + sums.size(); }
};

/** Planes need no alignment. All throw std::bad_alloc. */
Weight packVector(const uint8_t* plane, DenseKind, int columns);
Weight packDense(const Kernels&, const uint8_t* plane, DenseKind, int rows, int columns);
Weight packInteger(const Kernels&, const uint8_t* codes, const uint8_t* scales, bool nibbles, int rows, int columns,
                   int groupSize);
/** `mu` is null for weights without offsets. */
Weight packW11(const Kernels&, const uint8_t* sign, const uint8_t* bitmap, const uint8_t* alpha, const uint8_t* mu,
               int rows, int columns, int groupSize);

/** One row as f32, exact. */
void decodeRow(const Kernels&, const Weight&, int row, float* out);

}  // namespace duobit
