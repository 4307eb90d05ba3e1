// Kernels for 64-bit ARM with NEON; empty elsewhere.
#if defined(__aarch64__)
#include "simd-neon.h"

#include "kernels-table.h"

namespace duobit {
const Kernels* neonKernels() { return &neon::TABLE; }
}  // namespace duobit
#else
#include "kernels.h"
namespace duobit {
const Kernels* neonKernels() { return nullptr; }
}  // namespace duobit
#endif
