// AVX2 with FMA and F16C under the names that the generic kernels use (simd-avx512.h says what they do).
#pragma once
#include <immintrin.h>

#include <cstdint>

#define KERNEL_ISA avx2
#define KERNEL_NAME "avx2"
#define KERNEL_VNNI 0

namespace duobit::avx2 {

constexpr int VW = 8;
constexpr int DENSE_ROWS = 6;
constexpr int CODED_ROWS = 2;
constexpr int INTEGER_ROWS = 4;
/** What lowShorts and highShorts are too large by. */
constexpr float SHORT_SCALE = 65536;

using V = __m256;
using I = __m256i;
using B = __m256i;

static inline __m256i firstLanes(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline V zero() { return _mm256_setzero_ps(); }
static inline V splat(float x) { return _mm256_set1_ps(x); }
static inline V load(const float* p) { return _mm256_loadu_ps(p); }
static inline void store(float* p, V v) { _mm256_storeu_ps(p, v); }
static inline V loadPart(const float* p, int n) { return _mm256_maskload_ps(p, firstLanes(n)); }
static inline void storePart(float* p, V v, int n) { _mm256_maskstore_ps(p, firstLanes(n), v); }
static inline V add(V a, V b) { return _mm256_add_ps(a, b); }
static inline V sub(V a, V b) { return _mm256_sub_ps(a, b); }
static inline V mul(V a, V b) { return _mm256_mul_ps(a, b); }
static inline V div(V a, V b) { return _mm256_div_ps(a, b); }
static inline V fma(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }
static inline V min(V a, V b) { return _mm256_min_ps(a, b); }
static inline V max(V a, V b) { return _mm256_max_ps(a, b); }
static inline V abs(V a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline V squareRoot(V a) { return _mm256_sqrt_ps(a); }
/** x where a < b, else y: where either is NaN, y. */
static inline V whereLess(V a, V b, V x, V y) { return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
static inline V nearest(V a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
template <int H>
static inline V swapLanes(V a) {
  if constexpr (H == 1) return _mm256_permute_ps(a, 0xb1);
  else if constexpr (H == 2) return _mm256_permute_ps(a, 0x4e);
  else return _mm256_permute2f128_ps(a, a, 1);
}
static inline float sum(V a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}
static inline float lowest(V a) {
  __m128 s = _mm_min_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_min_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_min_ss(s, _mm_shuffle_ps(s, s, 1)));
}
static inline float highest(V a) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_shuffle_ps(s, s, 1)));
}
static inline I toIntegers(V a) { return _mm256_cvtps_epi32(a); }
static inline V toFloats(I a) { return _mm256_cvtepi32_ps(a); }
static inline V power(V n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
static inline V loadHalf(const uint16_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
static inline uint16_t toHalf(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }
static inline void storeHalf(uint16_t* p, V v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}
static inline void storeIntegers(int32_t* p, I a) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a); }
static inline void storeCodes(uint8_t* p, I a) {
  const __m128i shorts = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(shorts, shorts));
}
static inline I integers(int32_t x) { return _mm256_set1_epi32(x); }
/** The low 16 bits of two numbers in each lane. */
static inline I pairShorts(I low, I high) { return _mm256_blend_epi16(low, _mm256_slli_epi32(high, 16), 0xaa); }
/** Keeps sums in the order that is written, and so in their registers. */
static inline B keep(B a) {
  __asm__("" : "+x"(a));
  return a;
}
static inline I addIntegers(I a, I b) { return _mm256_add_epi32(a, b); }
static inline I subIntegers(I a, I b) { return _mm256_sub_epi32(a, b); }
template <int N>
static inline I shiftRight(I a) { return _mm256_srai_epi32(a, N); }
/** VW rows of 2 signed bytes. Of the low bytes of 16-bit lanes the low nibbles, or 16 times the high ones. */
static inline B loadPairs(const uint8_t* p) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
static inline B lowPairs(B a) { return _mm256_and_si256(a, _mm256_set1_epi16(0x0f)); }
static inline B highPairs(B a) { return _mm256_and_si256(a, _mm256_set1_epi16(0xf0)); }
/** Adds, in each of VW lanes, 2 int16 (the same in all lanes) times 2 int16. */
static inline I dotPairs(I acc, const uint8_t* x, B w) {
  int32_t two;
  __builtin_memcpy(&two, x, 4);
  return keep(_mm256_add_epi32(acc, _mm256_madd_epi16(_mm256_set1_epi32(two), w)));
}

static inline B loadBytes(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
static inline B zeroBytes() { return _mm256_setzero_si256(); }
static inline B lowNibbles(B a) { return _mm256_and_si256(a, _mm256_set1_epi8(15)); }
static inline B shiftRight4(B a) { return _mm256_srli_epi16(a, 4); }
static inline B bothNibbles(B a, B b) { return lowNibbles(_mm256_and_si256(a, b)); }
static inline B loadTable(const uint8_t* p) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
static inline B look(B table, B index) { return _mm256_shuffle_epi8(table, index); }
static inline B addBytes(B a, B b) { return _mm256_add_epi8(a, b); }
static inline B addShorts(B a, B b) { return _mm256_add_epi16(a, b); }
static inline B subShorts(B a, B b) { return _mm256_sub_epi16(a, b); }
static inline B splatShorts(int x) { return _mm256_set1_epi16(static_cast<short>(x)); }
static inline B lowBytes(B a) { return _mm256_and_si256(a, _mm256_set1_epi16(255)); }
static inline B shortsRight8(B a) { return _mm256_srli_epi16(a, 8); }
static inline B shortsLeft8(B a) { return _mm256_slli_epi16(a, 8); }
/** Unpacking within 128-bit lanes is the cheapest way to 32 bits, so rows 4-7 and 8-11 of 16 change places. */
static inline int shortLane(int row) { return row % 16 / 4 == 1 ? row + 4 : row % 16 / 4 == 2 ? row - 4 : row; }
/** The lower or the upper half of the 16-bit lanes, in the same order, in lanes of 32 bits. */
static inline I lowLanes(B a) { return _mm256_unpacklo_epi16(a, zeroBytes()); }
static inline I highLanes(B a) { return _mm256_unpackhi_epi16(a, zeroBytes()); }
/** `b` where bit BIT of the lane is set, else `a`. */
template <int BIT>
static inline V pick(I bits, V a, V b) {
  return _mm256_blendv_ps(a, b, _mm256_castsi256_ps(_mm256_slli_epi32(bits, 31 - BIT)));
}
static inline V lowShorts(B a) { return toFloats(_mm256_unpacklo_epi16(zeroBytes(), a)); }
static inline V highShorts(B a) { return toFloats(_mm256_unpackhi_epi16(zeroBytes(), a)); }

/** 16 codes: lanes of 128 bits hold the first and third, and the second and fourth 4 of them. */
using C = __m256i;
static inline C packCodes(const I (&parts)[2]) {
  const __m256i shorts = _mm256_packs_epi32(parts[0], parts[1]);
  return _mm256_packus_epi16(shorts, shorts);
}
static inline int sumCodes(C codes) {
  const __m256i sums = _mm256_sad_epu8(codes, zeroBytes());
  return _mm_cvtsi128_si32(_mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1)));
}
static inline void storeTables(uint8_t* tables, C codes) {
  const auto pick = [](__m256i from, __m128i bytes) { return _mm256_shuffle_epi8(from, _mm256_broadcastsi128_si256(bytes)); };
  const char n = -1;
  // The sums of subsets of each pair of codes, then a pair's with those of the next.
  const __m256i pairs = _mm256_add_epi8(pick(codes, _mm_setr_epi8(n, 0, n, 0, n, 2, n, 2, n, 4, n, 4, n, 6, n, 6)),
                                        pick(codes, _mm_setr_epi8(n, n, 1, 1, n, n, 3, 3, n, n, 5, 5, n, n, 7, 7)));
  for (char half = 0; half < 2; ++half) {
    const __m128i first = _mm_set1_epi8(static_cast<char>(8 * half));
    const __m128i low = _mm_setr_epi8(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
    const __m128i high = _mm_setr_epi8(4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(tables + 32 * half),
                        _mm256_add_epi8(pick(pairs, _mm_add_epi8(low, first)), pick(pairs, _mm_add_epi8(high, first))));
  }
}

}  // namespace duobit::avx2
