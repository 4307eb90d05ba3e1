// Training kernels for 64-bit ARM with NEON; empty elsewhere. Dot products of integers are of no use here.
#if defined(__aarch64__)
#include "simd-neon.h"

#include "training-table.h"

namespace duobit {
const TrainingTable* neonTraining() { return &neon::TRAINING; }
}  // namespace duobit
#else
#include "training.h"
namespace duobit {
const TrainingTable* neonTraining() { return nullptr; }
}  // namespace duobit
#endif
