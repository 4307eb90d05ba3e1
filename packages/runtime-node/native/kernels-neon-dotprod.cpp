// Kernels for 64-bit ARM with the dot products of ARMv8.2. Compiled with that instruction set, so nothing here may run
// before cpu.cpp has found it.
#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#define KERNEL_DOTPROD 1
#include "simd-neon.h"

#include "kernels-table.h"

namespace duobit {
const Kernels* neonDotprodKernels() { return &neon_dotprod::TABLE; }
}  // namespace duobit
#else
#include "kernels.h"
namespace duobit {
const Kernels* neonDotprodKernels() { return nullptr; }
}  // namespace duobit
#endif
