// Portable kernels, for every machine and as a check of the others.
#include "simd-scalar.h"

#include "kernels-table.h"

namespace duobit {
const Kernels* scalarKernels() { return &scalar::TABLE; }
}  // namespace duobit
