// Portable training kernels, for every machine and as a check of the others.
#include "simd-scalar.h"

#include "training-table.h"

namespace duobit {
const TrainingTable* scalarTraining() { return &scalar::TRAINING; }
}  // namespace duobit
