// Training kernels for AVX2 with FMA and F16C. Compiled with that instruction set, so nothing here may run before cpu.cpp has found it.
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "simd-avx2.h"

#include "training-table.h"

namespace duobit {
const TrainingTable* avx2Training() { return &avx2::TRAINING; }
}  // namespace duobit
#else
#include "training.h"
namespace duobit {
const TrainingTable* avx2Training() { return nullptr; }
}  // namespace duobit
#endif
