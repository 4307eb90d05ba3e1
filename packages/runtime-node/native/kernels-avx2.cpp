// Kernels for AVX2 with FMA and F16C. Compiled with that instruction set, so nothing here may run before cpu.cpp has found
// it.
#if defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "simd-avx2.h"

#include "kernels-table.h"

namespace duobit {
const Kernels* avx2Kernels() { return &avx2::TABLE; }
}  // namespace duobit
#else
#include "kernels.h"
namespace duobit {
const Kernels* avx2Kernels() { return nullptr; }
}  // namespace duobit
#endif
