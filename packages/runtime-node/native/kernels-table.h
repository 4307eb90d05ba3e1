// The table of one instruction set's kernels; the last include of its file.
#pragma once
#include "kernels-attention.h"
#include "kernels-gram.h"
#include "kernels-integer.h"
#include "kernels-rotate.h"
#include "kernels-w11.h"

namespace duobit::KERNEL_ISA {

static const Kernels TABLE = {
    KERNEL_NAME, VW, CHUNK, byteOfRow, quantizeRow, w11Coded, w11Float, dense, roundRow, integer,
    rmsNorm, rotate, rope, cacheRow, attention, mergeAttention, siluMul, addTo, gram, largest,
};

}  // namespace duobit::KERNEL_ISA
