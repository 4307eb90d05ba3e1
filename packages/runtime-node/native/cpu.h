// Which instruction sets this machine runs.
#pragma once
#include <string>
#include <vector>

#include "kernels.h"
#include "training.h"

namespace duobit {

/** All names there are, fastest first. */
const std::vector<std::string>& knownInstructionSets();
/** Null when this build or this machine lacks it. */
const Kernels* findKernels(const std::string& name);
const TrainingTable* findTraining(const std::string& name);

}  // namespace duobit
