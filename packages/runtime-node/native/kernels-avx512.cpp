// Kernels for AVX-512 with VNNI. Compiled with that instruction set, so nothing here may run before cpu.cpp has found it.
#if defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#include "simd-avx512.h"

#include "kernels-table.h"

namespace duobit {
const Kernels* avx512Kernels() { return &avx512::TABLE; }
}  // namespace duobit
#else
#include "kernels.h"
namespace duobit {
const Kernels* avx512Kernels() { return nullptr; }
}  // namespace duobit
#endif
