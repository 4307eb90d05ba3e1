// Which instruction sets this machine runs; compiled for the baseline, as it runs before anything is known.
#include "cpu.h"

namespace duobit {

#if defined(__x86_64__) || defined(_M_X64)
static bool hasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
static bool hasAvx512() {
  return hasAvx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni");
}
#else
static bool hasAvx2() { return false; }
static bool hasAvx512() { return false; }
#endif

const std::vector<std::string>& knownInstructionSets() {
  static const std::vector<std::string> names = {"avx512", "avx2", "neon", "scalar"};
  return names;
}

const Kernels* findKernels(const std::string& name) {
  if (name == "avx512") return hasAvx512() ? avx512Kernels() : nullptr;
  if (name == "avx2") return hasAvx2() ? avx2Kernels() : nullptr;
  // Every 64-bit ARM has NEON.
  if (name == "neon") return neonKernels();
  return name == "scalar" ? scalarKernels() : nullptr;
}

}  // namespace duobit
