// AVX-512 (F, BW, DQ, VL, VNNI) under the names that the generic kernels use.
// min and max give the second operand when either is NaN.
#pragma once
#include <immintrin.h>

#include <cstdint>

#define KERNEL_ISA avx512
#define KERNEL_NAME "avx512"
#define KERNEL_VNNI 1
#define KERNEL_TWO_FETCHES 1

namespace duobit::avx512 {

constexpr int VW = 16;
constexpr int DENSE_ROWS = 12;
constexpr int CODED_ROWS = 3;
constexpr int INTEGER_ROWS = 4;
constexpr float SHORT_SCALE = 1;

using V = __m512;
using I = __m512i;
using B = __m512i;

static inline __mmask16 firstLanes(int n) { return static_cast<__mmask16>((1u << n) - 1); }
static inline V zero() { return _mm512_setzero_ps(); }
static inline V splat(float x) { return _mm512_set1_ps(x); }
static inline V load(const float* p) { return _mm512_loadu_ps(p); }
static inline void store(float* p, V v) { _mm512_storeu_ps(p, v); }
/** The first n < VW values, zeros after them. */
static inline V loadPart(const float* p, int n) { return _mm512_maskz_loadu_ps(firstLanes(n), p); }
static inline void storePart(float* p, V v, int n) { _mm512_mask_storeu_ps(p, firstLanes(n), v); }
static inline V add(V a, V b) { return _mm512_add_ps(a, b); }
static inline V sub(V a, V b) { return _mm512_sub_ps(a, b); }
static inline V mul(V a, V b) { return _mm512_mul_ps(a, b); }
static inline V div(V a, V b) { return _mm512_div_ps(a, b); }
/** a * b + c */
static inline V fma(V a, V b, V c) { return _mm512_fmadd_ps(a, b, c); }
static inline V min(V a, V b) { return _mm512_min_ps(a, b); }
static inline V max(V a, V b) { return _mm512_max_ps(a, b); }
static inline V abs(V a) { return _mm512_abs_ps(a); }
static inline V squareRoot(V a) { return _mm512_sqrt_ps(a); }
/** x where a < b, else y: where either is NaN, y. */
static inline V whereLess(V a, V b, V x, V y) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x); }
static inline V nearest(V a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
/** Lane i takes lane i ^ H, H a power of two. */
template <int H>
static inline V swapLanes(V a) {
  if constexpr (H == 1) return _mm512_permute_ps(a, 0xb1);
  else if constexpr (H == 2) return _mm512_permute_ps(a, 0x4e);
  else if constexpr (H == 4) return _mm512_shuffle_f32x4(a, a, 0xb1);
  else return _mm512_shuffle_f32x4(a, a, 0x4e);
}
static inline float sum(V a) { return _mm512_reduce_add_ps(a); }
static inline float lowest(V a) { return _mm512_reduce_min_ps(a); }
static inline float highest(V a) { return _mm512_reduce_max_ps(a); }
static inline I toIntegers(V a) { return _mm512_cvtps_epi32(a); }
static inline V toFloats(I a) { return _mm512_cvtepi32_ps(a); }
/** 2^n for integers n in the normal range. */
static inline V power(V n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}
static inline V loadHalf(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
static inline uint16_t toHalf(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }
static inline void storeHalf(uint16_t* p, V v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
static inline void storeIntegers(int32_t* p, I a) { _mm512_storeu_si512(p, a); }
static inline void storeCodes(uint8_t* p, I a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a));
}
static inline I integers(int32_t x) { return _mm512_set1_epi32(x); }
/** The low 16 bits of two numbers in each lane. */
static inline I pairShorts(I low, I high) { return _mm512_mask_blend_epi16(0xaaaaaaaa, low, _mm512_slli_epi32(high, 16)); }
static inline I addIntegers(I a, I b) { return _mm512_add_epi32(a, b); }
static inline I subIntegers(I a, I b) { return _mm512_sub_epi32(a, b); }
template <int N>
static inline I shiftLeft(I a) { return _mm512_slli_epi32(a, N); }
static inline I loadShorts(const int16_t* p) {
  return _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
/** Adds, in each of VW lanes, 4 unsigned bytes (the same in all lanes) times 4 signed bytes. */
static inline I dotBytes(I acc, const uint8_t* x, B w) {
  int32_t four;
  __builtin_memcpy(&four, x, 4);
  return _mm512_dpbusd_epi32(acc, _mm512_set1_epi32(four), w);
}

/** Adds, in each of VW lanes, 2 int16 (the same in all lanes) times 2 int16. */
static inline I dotPairs(I acc, const uint8_t* x, B w) {
  int32_t two;
  __builtin_memcpy(&two, x, 4);
  return _mm512_dpwssd_epi32(acc, _mm512_set1_epi32(two), w);
}

static inline B loadBytes(const uint8_t* p) {
  B bytes = _mm512_loadu_si512(p);
  // Keeps the compiler from loading once for each use: of a line on its way from memory, one load is enough.
  __asm__("" : "+v"(bytes));
  return bytes;
}
static inline B zeroBytes() { return _mm512_setzero_si512(); }
static inline B lowNibbles(B a) { return _mm512_and_si512(a, _mm512_set1_epi8(15)); }
static inline B shiftRight4(B a) { return _mm512_srli_epi16(a, 4); }
/** a & b & 15 */
static inline B bothNibbles(B a, B b) { return _mm512_ternarylogic_epi64(a, b, _mm512_set1_epi8(15), 0x80); }
static inline B loadTable(const uint8_t* p) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
static inline B look(B table, B index) { return _mm512_shuffle_epi8(table, index); }
static inline B keep(B a) { return a; }
static inline B addBytes(B a, B b) { return _mm512_add_epi8(a, b); }
static inline B addShorts(B a, B b) { return _mm512_add_epi16(a, b); }
static inline B subShorts(B a, B b) { return _mm512_sub_epi16(a, b); }
static inline B splatShorts(int x) { return _mm512_set1_epi16(static_cast<short>(x)); }
/** The low and the high byte of each 16-bit lane. */
static inline B lowBytes(B a) { return _mm512_and_si512(a, _mm512_set1_epi16(255)); }
static inline B shortsRight8(B a) { return _mm512_srli_epi16(a, 8); }
static inline B shortsLeft8(B a) { return _mm512_slli_epi16(a, 8); }
/** The 16-bit lane of a vector that holds a row of a half tile. */
static inline int shortLane(int row) { return row; }
/** The lower or the upper half of the rows in 16-bit lanes, as f32 times SHORT_SCALE. */
static inline V lowShorts(B a) { return toFloats(_mm512_cvtepi16_epi32(_mm512_castsi512_si256(a))); }
static inline I lowLanes(B a) { return _mm512_cvtepu16_epi32(_mm512_castsi512_si256(a)); }
static inline I highLanes(B a) { return _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(a, 1)); }
template <int BIT>
static inline V pick(I bits, V a, V b) {
  return _mm512_mask_blend_ps(_mm512_test_epi32_mask(bits, _mm512_set1_epi32(1 << BIT)), a, b);
}
static inline V highShorts(B a) { return toFloats(_mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(a, 1))); }

/** 16 codes, in an order of the instruction set's own. */
using C = __m128i;
static inline C packCodes(const I (&parts)[1]) { return _mm512_cvtepi32_epi8(parts[0]); }
static inline int sumCodes(C codes) {
  const __m128i sums = _mm_sad_epu8(codes, _mm_setzero_si128());
  return _mm_cvtsi128_si32(_mm_add_epi32(sums, _mm_unpackhi_epi64(sums, sums)));
}
/** 4 tables of the sums of subsets of 4 codes each. */
static inline void storeTables(uint8_t* tables, C codes) {
  const __m512i c = _mm512_broadcast_i32x4(codes);
  const __m512i base = _mm512_inserti64x4(
      _mm512_castsi256_si512(_mm256_setr_m128i(_mm_set1_epi8(0), _mm_set1_epi8(4))),
      _mm256_setr_m128i(_mm_set1_epi8(8), _mm_set1_epi8(12)), 1);
  const char n = -1;
  const auto pick = [&](__m128i bits) {
    return _mm512_shuffle_epi8(c, _mm512_or_si512(base, _mm512_broadcast_i32x4(bits)));
  };
  const __m512i one = pick(_mm_setr_epi8(n, 0, n, 0, n, 0, n, 0, n, 0, n, 0, n, 0, n, 0));
  const __m512i two = pick(_mm_setr_epi8(n, n, 1, 1, n, n, 1, 1, n, n, 1, 1, n, n, 1, 1));
  const __m512i three = pick(_mm_setr_epi8(n, n, n, n, 2, 2, 2, 2, n, n, n, n, 2, 2, 2, 2));
  const __m512i four = pick(_mm_setr_epi8(n, n, n, n, n, n, n, n, 3, 3, 3, 3, 3, 3, 3, 3));
  _mm512_storeu_si512(tables, _mm512_add_epi8(_mm512_add_epi8(one, two), _mm512_add_epi8(three, four)));
}

}  // namespace duobit::avx512
