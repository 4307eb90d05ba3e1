// Training kernels for AVX-512. Compiled with that instruction set, so nothing here may run before cpu.cpp has found it.
#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include "simd-avx512.h"

#include "training-table.h"

namespace duobit {
const TrainingTable* avx512Training() { return &avx512::TRAINING; }
}  // namespace duobit
#else
#include "training.h"
namespace duobit {
const TrainingTable* avx512Training() { return nullptr; }
}  // namespace duobit
#endif
