// All kernels of the cuda backend, one module.
#include "row.cu"
#include "w11-mma.cu"
#include "w11-one.cu"
#include "w11-float.cu"
#include "dense.cu"
#include "search.cu"
#include "attention-many.cu"
#include "pack.cu"
