// Portable C++ under the names that the generic kernels use (simd-avx512.h says what they do): arrays of 4 floats or 16
// bytes, which a compiler may turn into whatever vectors its baseline has.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "half.h"

#define KERNEL_ISA scalar
#define KERNEL_NAME "scalar"
#define KERNEL_VNNI 0

namespace duobit::scalar {

constexpr int VW = 4;
constexpr int DENSE_ROWS = 2;
constexpr int CODED_ROWS = 1;
constexpr int INTEGER_ROWS = 2;
constexpr float SHORT_SCALE = 1;

struct V { float v[4]; };
struct I { int32_t v[4]; };
struct B { uint8_t v[16]; };
struct Shorts { uint16_t v[8]; };

template <class F>
static inline V each(F f) { return {{f(0), f(1), f(2), f(3)}}; }
template <class F>
static inline I eachInteger(F f) { return {{f(0), f(1), f(2), f(3)}}; }
template <class F>
static inline B eachByte(F f) {
  B r;
  for (int i = 0; i < 16; ++i) r.v[i] = static_cast<uint8_t>(f(i));
  return r;
}
static inline Shorts shorts(B a) {
  Shorts r;
  std::memcpy(&r, &a, 16);
  return r;
}
template <class F>
static inline B eachShort(F f) {
  Shorts r;
  for (int i = 0; i < 8; ++i) r.v[i] = static_cast<uint16_t>(f(i));
  B b;
  std::memcpy(&b, &r, 16);
  return b;
}

static inline V zero() { return {{0, 0, 0, 0}}; }
static inline V splat(float x) { return {{x, x, x, x}}; }
static inline V load(const float* p) { return {{p[0], p[1], p[2], p[3]}}; }
static inline void store(float* p, V v) { std::memcpy(p, v.v, 16); }
static inline V loadPart(const float* p, int n) {
  V r = zero();
  for (int i = 0; i < n; ++i) r.v[i] = p[i];
  return r;
}
static inline void storePart(float* p, V v, int n) {
  for (int i = 0; i < n; ++i) p[i] = v.v[i];
}
static inline V add(V a, V b) { return each([&](int i) { return a.v[i] + b.v[i]; }); }
static inline V sub(V a, V b) { return each([&](int i) { return a.v[i] - b.v[i]; }); }
static inline V mul(V a, V b) { return each([&](int i) { return a.v[i] * b.v[i]; }); }
static inline V div(V a, V b) { return each([&](int i) { return a.v[i] / b.v[i]; }); }
/** Rounds twice: a fused product without hardware is a library call. */
static inline V fma(V a, V b, V c) { return each([&](int i) { return a.v[i] * b.v[i] + c.v[i]; }); }
static inline V min(V a, V b) { return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; }); }
static inline V max(V a, V b) { return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; }); }
static inline V abs(V a) { return each([&](int i) { return std::fabs(a.v[i]); }); }
static inline V squareRoot(V a) { return each([&](int i) { return std::sqrt(a.v[i]); }); }
/** x where a < b, else y: where either is NaN, y. */
static inline V whereLess(V a, V b, V x, V y) { return each([&](int i) { return a.v[i] < b.v[i] ? x.v[i] : y.v[i]; }); }
static inline V nearest(V a) { return each([&](int i) { return std::nearbyintf(a.v[i]); }); }
template <int H>
static inline V swapLanes(V a) { return each([&](int i) { return a.v[i ^ H]; }); }
static inline float sum(V a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }
static inline float lowest(V a) {
  float r = a.v[0];
  for (int i = 1; i < 4; ++i) r = a.v[i] < r ? a.v[i] : r;
  return r;
}
static inline float highest(V a) {
  float r = a.v[0];
  for (int i = 1; i < 4; ++i) r = a.v[i] > r ? a.v[i] : r;
  return r;
}
/** What is no number, or out of range, gives 0: the caller makes nothing of it. */
static inline I toIntegers(V a) {
  return eachInteger([&](int i) {
    return std::fabs(a.v[i]) < 2147483520.0f ? static_cast<int32_t>(std::nearbyintf(a.v[i])) : 0;
  });
}
static inline V toFloats(I a) { return each([&](int i) { return static_cast<float>(a.v[i]); }); }
static inline V power(V n) {
  const I whole = toIntegers(n);
  V r;
  for (int i = 0; i < 4; ++i) {
    const uint32_t word = static_cast<uint32_t>(whole.v[i] + 127) << 23;
    std::memcpy(&r.v[i], &word, 4);
  }
  return r;
}
static inline V loadHalf(const uint16_t* p) { return each([&](int i) { return halfToFloat(p[i]); }); }
static inline uint16_t toHalf(float x) { return floatToHalf(x); }
static inline void storeHalf(uint16_t* p, V v) {
  for (int i = 0; i < 4; ++i) p[i] = floatToHalf(v.v[i]);
}
static inline void storeIntegers(int32_t* p, I a) { std::memcpy(p, a.v, 16); }
static inline void storeCodes(uint8_t* p, I a) {
  for (int i = 0; i < 4; ++i) p[i] = static_cast<uint8_t>(a.v[i]);
}
static inline I integers(int32_t x) { return {{x, x, x, x}}; }
static inline I pairShorts(I low, I high) {
  return eachInteger([&](int i) {
    return static_cast<int32_t>((static_cast<uint32_t>(low.v[i]) & 0xffff) | static_cast<uint32_t>(high.v[i]) << 16);
  });
}
static inline I addIntegers(I a, I b) { return eachInteger([&](int i) { return a.v[i] + b.v[i]; }); }
static inline I subIntegers(I a, I b) { return eachInteger([&](int i) { return a.v[i] - b.v[i]; }); }
static inline B loadPairs(const uint8_t* p) {
  return eachShort([&](int i) { return static_cast<int8_t>(p[i]); });
}
static inline B lowPairs(B a) {
  const Shorts s = shorts(a);
  return eachShort([&](int i) { return s.v[i] & 15; });
}
static inline B highPairs(B a) {
  const Shorts s = shorts(a);
  return eachShort([&](int i) { return s.v[i] & 0xf0; });
}
template <int N>
static inline I shiftRight(I a) { return eachInteger([&](int i) { return a.v[i] >> N; }); }
static inline I dotPairs(I acc, const uint8_t* x, B w) {
  int16_t two[2], s[8];
  std::memcpy(two, x, 4);
  std::memcpy(s, &w, 16);
  return eachInteger([&](int i) { return acc.v[i] + two[0] * s[2 * i] + two[1] * s[2 * i + 1]; });
}

static inline B loadBytes(const uint8_t* p) {
  B r;
  std::memcpy(&r, p, 16);
  return r;
}
static inline B zeroBytes() { return eachByte([](int) { return 0; }); }
static inline B lowNibbles(B a) { return eachByte([&](int i) { return a.v[i] & 15; }); }
/** The high nibbles of what is looked at with `lowNibbles` afterwards. */
static inline B shiftRight4(B a) { return eachByte([&](int i) { return a.v[i] >> 4; }); }
static inline B bothNibbles(B a, B b) { return eachByte([&](int i) { return a.v[i] & b.v[i] & 15; }); }
static inline B loadTable(const uint8_t* p) { return loadBytes(p); }
static inline B look(B table, B index) { return eachByte([&](int i) { return table.v[index.v[i]]; }); }
static inline B keep(B a) { return a; }
static inline B addBytes(B a, B b) { return eachByte([&](int i) { return a.v[i] + b.v[i]; }); }
static inline B addShorts(B a, B b) {
  const Shorts x = shorts(a), y = shorts(b);
  return eachShort([&](int i) { return x.v[i] + y.v[i]; });
}
static inline B subShorts(B a, B b) {
  const Shorts x = shorts(a), y = shorts(b);
  return eachShort([&](int i) { return x.v[i] - y.v[i]; });
}
static inline B splatShorts(int x) { return eachShort([&](int) { return x; }); }
static inline B lowBytes(B a) {
  const Shorts x = shorts(a);
  return eachShort([&](int i) { return x.v[i] & 255; });
}
static inline B shortsRight8(B a) {
  const Shorts x = shorts(a);
  return eachShort([&](int i) { return x.v[i] >> 8; });
}
static inline B shortsLeft8(B a) {
  const Shorts x = shorts(a);
  return eachShort([&](int i) { return x.v[i] << 8; });
}
static inline int shortLane(int row) { return row; }
static inline I lowLanes(B a) {
  const Shorts x = shorts(a);
  return {{x.v[0], x.v[1], x.v[2], x.v[3]}};
}
static inline I highLanes(B a) {
  const Shorts x = shorts(a);
  return {{x.v[4], x.v[5], x.v[6], x.v[7]}};
}
template <int BIT>
static inline V pick(I bits, V a, V b) { return each([&](int i) { return bits.v[i] >> BIT & 1 ? b.v[i] : a.v[i]; }); }
static inline V lowShorts(B a) {
  const Shorts x = shorts(a);
  return each([&](int i) { return static_cast<float>(static_cast<int16_t>(x.v[i])); });
}
static inline V highShorts(B a) {
  const Shorts x = shorts(a);
  return each([&](int i) { return static_cast<float>(static_cast<int16_t>(x.v[4 + i])); });
}
using C = B;
static inline C packCodes(const I (&parts)[4]) { return eachByte([&](int i) { return parts[i / 4].v[i % 4]; }); }
static inline int sumCodes(C codes) {
  int sum = 0;
  for (const uint8_t code : codes.v) sum += code;
  return sum;
}
static inline void storeTables(uint8_t* tables, C codes) {
  for (int quad = 0; quad < 4; ++quad)
    for (int e = 0; e < 16; ++e) {
      int sum = 0;
      for (int j = 0; j < 4; ++j)
        if (e >> j & 1) sum += codes.v[4 * quad + j];
      tables[16 * quad + e] = static_cast<uint8_t>(sum);
    }
}

}  // namespace duobit::scalar
