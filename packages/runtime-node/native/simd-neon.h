// NEON (ARMv8 64-bit) under the names that the generic kernels use (simd-avx512.h says what they do); with KERNEL_DOTPROD
// the dot products of ARMv8.2 as well, which make integer weights about four times as cheap.
#pragma once
#include <arm_neon.h>

#include <cstdint>

#if defined(KERNEL_DOTPROD)
#define KERNEL_ISA neon_dotprod
#define KERNEL_NAME "neon-dotprod"
#define KERNEL_VNNI 1
#define KERNEL_SIGNED_BYTES 1
#else
#define KERNEL_ISA neon
#define KERNEL_NAME "neon"
#define KERNEL_VNNI 0
#endif

namespace duobit::KERNEL_ISA {

constexpr int VW = 4;
constexpr int DENSE_ROWS = 8;
constexpr int CODED_ROWS = 2;
constexpr int INTEGER_ROWS = 4;
constexpr float SHORT_SCALE = 1;

using V = float32x4_t;
using I = int32x4_t;
using B = uint8x16_t;

static inline V zero() { return vdupq_n_f32(0); }
static inline V splat(float x) { return vdupq_n_f32(x); }
static inline V load(const float* p) { return vld1q_f32(p); }
static inline void store(float* p, V v) { vst1q_f32(p, v); }
static inline V loadPart(const float* p, int n) {
  float values[4] = {0, 0, 0, 0};
  for (int i = 0; i < n; ++i) values[i] = p[i];
  return vld1q_f32(values);
}
static inline void storePart(float* p, V v, int n) {
  float values[4];
  vst1q_f32(values, v);
  for (int i = 0; i < n; ++i) p[i] = values[i];
}
static inline V add(V a, V b) { return vaddq_f32(a, b); }
static inline V sub(V a, V b) { return vsubq_f32(a, b); }
static inline V mul(V a, V b) { return vmulq_f32(a, b); }
static inline V div(V a, V b) { return vdivq_f32(a, b); }
static inline V fma(V a, V b, V c) { return vfmaq_f32(c, a, b); }
static inline V min(V a, V b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
static inline V max(V a, V b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
static inline V abs(V a) { return vabsq_f32(a); }
static inline V squareRoot(V a) { return vsqrtq_f32(a); }
/** x where a < b, else y: where either is NaN, y. */
static inline V whereLess(V a, V b, V x, V y) { return vbslq_f32(vcltq_f32(a, b), x, y); }
static inline V nearest(V a) { return vrndnq_f32(a); }
template <int H>
static inline V swapLanes(V a) {
  if constexpr (H == 1) return vrev64q_f32(a);
  else return vextq_f32(a, a, 2);
}
static inline float sum(V a) { return vaddvq_f32(a); }
static inline float lowest(V a) { return vminvq_f32(a); }
static inline float highest(V a) { return vmaxvq_f32(a); }
static inline I toIntegers(V a) { return vcvtnq_s32_f32(a); }
static inline V toFloats(I a) { return vcvtq_f32_s32(a); }
static inline V power(V n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23)); }
static inline V loadHalf(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
static inline uint16_t toHalf(float x) { return vget_lane_u16(vreinterpret_u16_f16(vcvt_f16_f32(vdupq_n_f32(x))), 0); }
static inline void storeHalf(uint16_t* p, V v) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v))); }
static inline void storeIntegers(int32_t* p, I a) { vst1q_s32(p, a); }
static inline void storeCodes(uint8_t* p, I a) {
  int32_t values[4];
  vst1q_s32(values, a);
  for (int i = 0; i < 4; ++i) p[i] = static_cast<uint8_t>(values[i]);
}
static inline I integers(int32_t x) { return vdupq_n_s32(x); }
static inline I pairShorts(I low, I high) { return vsliq_n_s32(low, high, 16); }
static inline I addIntegers(I a, I b) { return vaddq_s32(a, b); }
static inline I subIntegers(I a, I b) { return vsubq_s32(a, b); }
#if defined(KERNEL_DOTPROD)
template <int N>
static inline I shiftLeft(I a) { return vshlq_n_s32(a, N); }
static inline I loadShorts(const int16_t* p) { return vmovl_s16(vld1_s16(p)); }
/** Here the bytes of activations are signed too. */
static inline I dotBytes(I acc, const uint8_t* x, B w) {
  int32_t four;
  __builtin_memcpy(&four, x, 4);
  return vdotq_s32(acc, vreinterpretq_s8_u8(w), vreinterpretq_s8_s32(vdupq_n_s32(four)));
}
#else
static inline B loadPairs(const uint8_t* p) {
  return vreinterpretq_u8_s16(vmovl_s8(vreinterpret_s8_u8(vld1_u8(p))));
}
static inline B lowPairs(B a) { return vreinterpretq_u8_u16(vandq_u16(vreinterpretq_u16_u8(a), vdupq_n_u16(15))); }
static inline B highPairs(B a) { return vreinterpretq_u8_u16(vandq_u16(vreinterpretq_u16_u8(a), vdupq_n_u16(0xf0))); }
template <int N>
static inline I shiftRight(I a) { return vshrq_n_s32(a, N); }
#endif
static inline I dotPairs(I acc, const uint8_t* x, B w) {
  int32_t two;
  __builtin_memcpy(&two, x, 4);
  const int16x8_t a = vreinterpretq_s16_s32(vdupq_n_s32(two)), b = vreinterpretq_s16_u8(w);
  const int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b)), high = vmull_high_s16(a, b);
  return vaddq_s32(acc, vpaddq_s32(low, high));
}

static inline B loadBytes(const uint8_t* p) { return vld1q_u8(p); }
static inline B zeroBytes() { return vdupq_n_u8(0); }
static inline B lowNibbles(B a) { return vandq_u8(a, vdupq_n_u8(15)); }
static inline B shiftRight4(B a) { return vshrq_n_u8(a, 4); }
static inline B bothNibbles(B a, B b) { return vandq_u8(vandq_u8(a, b), vdupq_n_u8(15)); }
static inline B loadTable(const uint8_t* p) { return vld1q_u8(p); }
static inline B look(B table, B index) { return vqtbl1q_u8(table, index); }
static inline B keep(B a) { return a; }
static inline B addBytes(B a, B b) { return vaddq_u8(a, b); }
static inline uint16x8_t shorts(B a) { return vreinterpretq_u16_u8(a); }
static inline B addShorts(B a, B b) { return vreinterpretq_u8_u16(vaddq_u16(shorts(a), shorts(b))); }
static inline B subShorts(B a, B b) { return vreinterpretq_u8_u16(vsubq_u16(shorts(a), shorts(b))); }
static inline B splatShorts(int x) { return vreinterpretq_u8_s16(vdupq_n_s16(static_cast<int16_t>(x))); }
static inline B lowBytes(B a) { return vreinterpretq_u8_u16(vandq_u16(shorts(a), vdupq_n_u16(255))); }
static inline B shortsRight8(B a) { return vreinterpretq_u8_u16(vshrq_n_u16(shorts(a), 8)); }
static inline B shortsLeft8(B a) { return vreinterpretq_u8_u16(vshlq_n_u16(shorts(a), 8)); }
static inline int shortLane(int row) { return row; }
static inline I lowLanes(B a) { return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(shorts(a)))); }
static inline I highLanes(B a) { return vreinterpretq_s32_u32(vmovl_high_u16(shorts(a))); }
template <int BIT>
static inline V pick(I bits, V a, V b) { return vbslq_f32(vtstq_s32(bits, vdupq_n_s32(1 << BIT)), b, a); }
static inline V lowShorts(B a) { return toFloats(vmovl_s16(vget_low_s16(vreinterpretq_s16_u8(a)))); }
static inline V highShorts(B a) { return toFloats(vmovl_high_s16(vreinterpretq_s16_u8(a))); }
using C = uint8x16_t;
static inline C packCodes(const I (&parts)[4]) {
  const int16x8_t low = vcombine_s16(vmovn_s32(parts[0]), vmovn_s32(parts[1]));
  const int16x8_t high = vcombine_s16(vmovn_s32(parts[2]), vmovn_s32(parts[3]));
  return vreinterpretq_u8_s8(vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}
static inline int sumCodes(C codes) { return vaddvq_u8(codes); }
/** 4 tables of the sums of subsets of 4 codes each: entry e takes code j where bit j of e is set. */
static inline void storeTables(uint8_t* tables, C c) {
  const uint8_t n = 255;  // an index past the vector gives 0
  static const uint8_t PICKS[4][16] = {{n, 0, n, 0, n, 0, n, 0, n, 0, n, 0, n, 0, n, 0},
                                       {n, n, 1, 1, n, n, 1, 1, n, n, 1, 1, n, n, 1, 1},
                                       {n, n, n, n, 2, 2, 2, 2, n, n, n, n, 2, 2, 2, 2},
                                       {n, n, n, n, n, n, n, n, 3, 3, 3, 3, 3, 3, 3, 3}};
  for (int quad = 0; quad < 4; ++quad) {
    const B base = vdupq_n_u8(static_cast<uint8_t>(4 * quad));
    const auto pick = [&](int j) { return vqtbl1q_u8(c, vorrq_u8(vld1q_u8(PICKS[j]), base)); };
    vst1q_u8(tables + 16 * quad, vaddq_u8(vaddq_u8(pick(0), pick(1)), vaddq_u8(pick(2), pick(3))));
  }
}

}  // namespace duobit::KERNEL_ISA
