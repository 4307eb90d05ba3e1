// Conversion between binary16 and binary32 without special instructions.
#pragma once
#include <cstdint>
#include <cstring>

namespace duobit {

/** Exact. */
static inline float halfToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t magnitude = bits & 0x7fff;
  uint32_t word;
  if (magnitude >= 0x7c00) word = (magnitude << 13) | 0x7f800000;
  else word = magnitude << 13;
  float value;
  std::memcpy(&value, &word, 4);
  // Below infinity the exponent is 112 too small; the product is exact, subnormal values included.
  if (magnitude < 0x7c00) value *= 5192296858534827628530496329220096.0f;
  std::memcpy(&word, &value, 4);
  word |= sign;
  std::memcpy(&value, &word, 4);
  return value;
}

/** To nearest, ties to even. */
static inline uint16_t floatToHalf(float value) {
  uint32_t word;
  std::memcpy(&word, &value, 4);
  const uint16_t sign = static_cast<uint16_t>((word >> 16) & 0x8000);
  word &= 0x7fffffff;
  if (word > 0x7f800000) return sign | 0x7e00;
  if (word >= 0x477ff000) return sign | 0x7c00;
  if (word < 0x38800000) {
    // Adding 0.5 lets the f32 unit round at the place of the smallest subnormal.
    float magnitude;
    std::memcpy(&magnitude, &word, 4);
    magnitude += 0.5f;
    std::memcpy(&word, &magnitude, 4);
    return static_cast<uint16_t>(sign | (word - 0x3f000000));
  }
  word += 0xc8000fff + ((word >> 13) & 1);
  return static_cast<uint16_t>(sign | (word >> 13));
}

}  // namespace duobit
