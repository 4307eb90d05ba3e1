// All kernels of the cuda backend, one module.
#include "row.cu"
#include "w11-mma.cu"
#include "w11-lanes.cu"
#include "dense.cu"
#include "search.cu"
#include "attention.cu"
#include "attention-one.cu"
#include "pack.cu"
