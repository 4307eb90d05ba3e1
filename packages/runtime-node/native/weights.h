// Packs weights from the planes of a container into the layouts of kernels.h.
#pragma once
#include <cstdint>

#include "kernels.h"
#include "memory.h"
#include "team.h"

namespace duobit {

enum class WeightKind { Vector, Dense, Integer, W11 };
enum class DenseKind { F32, F16, BF16 };

/** What lies in an arena. */
struct Weight {
  WeightKind kind;
  int rows, columns;
  const float* vector = nullptr;
  DenseMatrix dense{};
  IntegerMatrix integer{};
  W11Matrix w11{};
};

/** Where weights go, for which kernels, and who packs them. */
struct Packer {
  Arena& arena;
  const Kernels& kernels;
  Team& team;
};

/** Planes need no alignment. All throw std::bad_alloc. */
Weight packVector(const Packer&, const uint8_t* plane, DenseKind, int columns);
Weight packDense(const Packer&, const uint8_t* plane, DenseKind, int rows, int columns);
Weight packInteger(const Packer&, const uint8_t* codes, const uint8_t* scales, bool nibbles, int rows, int columns,
                   int groupSize);
/** `mu` is null for weights without offsets. */
Weight packW11(const Packer&, const uint8_t* sign, const uint8_t* bitmap, const uint8_t* alpha, const uint8_t* mu,
               int rows, int columns, int groupSize);

/** One row as f32, exact. */
void decodeRow(const Kernels&, const Weight&, int row, float* out);

}  // namespace duobit
