// Which instruction sets this machine runs; compiled for the baseline, as it runs before anything is known. Asks the
// processor itself: the compiler's own question, __builtin_cpu_supports, needs a runtime library that not every one brings.
#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(_WIN32)
#include <windows.h>
#endif

namespace duobit {

namespace {

struct Features {
  bool avx2 = false, avx512 = false, dotprod = false;
};

#if defined(__x86_64__)
Features detect() {
  Features found;
  unsigned a, b, c, d;
  const unsigned base = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
  if (!__get_cpuid(1, &a, &b, &c, &d) || (c & base) != base) return found;
  // Of no use unless the system saves the registers: XCR0 bits 1 and 2 stand for YMM, 5 to 7 for ZMM and its masks.
  unsigned states, high;
  __asm__("xgetbv" : "=a"(states), "=d"(high) : "c"(0));
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
  found.avx2 = (states & 0x06) == 0x06 && (b & bit_AVX2) != 0;
  const unsigned wide = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
  found.avx512 = found.avx2 && (states & 0xe6) == 0xe6 && (b & wide) == wide && (c & bit_AVX512VNNI) != 0;
  return found;
}
#elif defined(__aarch64__)
Features detect() {
  Features found;
#if defined(__linux__)
  const unsigned long asimddp = 1ul << 20;
  found.dotprod = (getauxval(AT_HWCAP) & asimddp) != 0;
#elif defined(__APPLE__)
  found.dotprod = true;
#elif defined(_WIN32)
  const int dotProduct = 43;
  found.dotprod = IsProcessorFeaturePresent(dotProduct) != 0;
#endif
  return found;
}
#else
Features detect() { return {}; }
#endif

}  // namespace

const std::vector<std::string>& knownInstructionSets() {
  static const std::vector<std::string> names = {"avx512", "avx2", "neon-dotprod", "neon", "scalar"};
  return names;
}

const Kernels* findKernels(const std::string& name) {
  static const Features machine = detect();
  if (name == "avx512") return machine.avx512 ? avx512Kernels() : nullptr;
  if (name == "avx2") return machine.avx2 ? avx2Kernels() : nullptr;
  if (name == "neon-dotprod") return machine.dotprod ? neonDotprodKernels() : nullptr;
  // Every 64-bit ARM has NEON.
  if (name == "neon") return neonKernels();
  return name == "scalar" ? scalarKernels() : nullptr;
}

const TrainingTable* findTraining(const std::string& name) {
  if (!findKernels(name)) return nullptr;
  if (name == "avx512") return avx512Training();
  if (name == "avx2") return avx2Training();
  return name == "scalar" ? scalarTraining() : neonTraining();
}

}  // namespace duobit
