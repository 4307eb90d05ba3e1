// The table of one instruction set's training kernels; the last include of its file.
#pragma once
#include "training-attention.h"
#include "training-levels.h"
#include "training-loss.h"
#include "training-rows.h"

namespace duobit::KERNEL_ISA {

static const TrainingTable TRAINING = {
    KERNEL_NAME, PANEL, DENSE_ROWS, packPanel, multiply, attend, attendScratch, attendBack, attendBackScratch,
    normRow, normRowBack, addRuns, turnRow, gate, gateBack, rotate, rotateBack, quantizeRow, quantizeRowBack, nearestGroup,
    nearestGroupBack, chosenGroup, chosenGroupBack, relaxedGroup, relaxedGroupBack, distillRow, distillRowBack, adam, sumOfSquares,
};

}  // namespace duobit::KERNEL_ISA
