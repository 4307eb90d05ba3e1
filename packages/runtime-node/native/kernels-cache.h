// Writing rows of the KV cache in each precision (docs/numerics.md "KV cache") and loading from it; included by the file of
// each instruction set.
#pragma once
#include "kernels-float.h"

namespace duobit::KERNEL_ISA {

constexpr bool isCoded(CacheKind kind) { return kind == CacheKind::Int8 || kind == CacheKind::Int4; }

/** Groups of dimensions that have an offset and a step each. */
static inline int cacheGroups(const CacheLayer& cache) {
  return isCoded(cache.kind) ? (cache.headSize + CACHE_GROUP - 1) / CACHE_GROUP : 0;
}
/** Offsets and steps of one group of dimensions: of the keys in a tile, of the values in a block. */
constexpr int KEY_PARAMS = 2 * VW, VALUE_PARAMS = 2 * ATTENTION_BLOCK;

/** Within the range of f16; infinite values become NaN and so stay visible. */
static inline V limitToHalf(V x) { return add(min(splat(65504), max(splat(-65504), x)), sub(x, x)); }

/** Codes 0 … levels of n <= CACHE_GROUP values; each step one f32 operation in the order of docs/numerics.md. */
static void encodeGroup(const float* x, int n, float levels, uint16_t* lowBits, uint16_t* stepBits, uint8_t* codes) {
  float padded[CACHE_GROUP];
  for (int i = 0; i < CACHE_GROUP; ++i) padded[i] = x[i < n ? i : 0];
  V low = splat(__builtin_inff()), high = splat(-__builtin_inff()), fault = zero();
  for (int i = 0; i < CACHE_GROUP; i += VW) {
    const V v = limitToHalf(load(padded + i));
    store(padded + i, v);
    low = min(low, v);
    high = max(high, v);
    fault = add(fault, sub(v, v));
  }
  __builtin_memset(codes, 0, CACHE_GROUP);
  if (!(sum(fault) == 0)) {
    *lowBits = *stepBits = toHalf(__builtin_nanf(""));
    return;
  }
  // Offset and step are rounded before the codes are made, so that codes fit what is stored.
  alignas(64) float params[VW];
  uint16_t bits[VW];
  const float mn = lowest(low), mx = highest(high);
  bits[0] = toHalf(mn);
  for (int i = 1; i < VW; ++i) bits[i] = 0;
  store(params, loadHalf(bits));
  const float lo = params[0];
  *lowBits = bits[0];
  bits[0] = toHalf((mx - lo) / levels);
  store(params, loadHalf(bits));
  const float step = params[0];
  *stepBits = bits[0];
  if (!(step > 0)) return;
  for (int i = 0; i < CACHE_GROUP; i += VW) {
    const V t = div(sub(load(padded + i), splat(lo)), splat(step));
    storeCodes(codes + i, toIntegers(min(max(t, zero()), splat(levels))));
  }
}

/** Where a member of a row lies in the vectors of its pairs, in a lane. */
static inline int byteOfMember(int member, int lane) {
  const int pair = member / (2 * VW) * VW + member % VW, side = member / VW % 2;
  return pair / 2 * 4 * VW + 4 * lane + 2 * side + pair % 2;
}

/** The keys and the values of a head in the block that holds a position. */
static inline uint8_t* keysOf(const CacheLayer& cache, int head, int position) {
  return cache.data + position / ATTENTION_BLOCK * cache.blockBytes + head * cache.headBytes;
}
static inline uint8_t* valuesOf(const CacheLayer& cache, int head, int position) {
  return keysOf(cache, head, position) + cache.keyBytes;
}

/** One head's key and value; `at` is the position within its block. */
static void cacheFloats(const CacheLayer& cache, const float* key, const float* value, uint8_t* keys, uint8_t* values, int at) {
  const int size = cache.headSize, lane = at % VW;
  uint8_t *keyTile = keys + at / VW * cache.keyTile, *valueRow = values + at / VW * cache.valueTile + lane * (cache.valueTile / VW);
  if (cache.kind == CacheKind::F32) {
    float* out = reinterpret_cast<float*>(keyTile) + lane;
    for (int d = 0; d < size; ++d) out[d * VW] = key[d];
    __builtin_memcpy(valueRow, value, size * sizeof(float));
    return;
  }
  uint16_t* out = reinterpret_cast<uint16_t*>(keyTile) + lane;
  for (int d = 0; d < size; d += VW) {
    uint16_t halves[VW];
    storeHalf(halves, limitToHalf(loadTo(key, d, size)));
    for (int i = 0; i < VW && d + i < size; ++i) out[(d + i) * VW] = halves[i];
    storeHalf(reinterpret_cast<uint16_t*>(valueRow) + d, limitToHalf(loadTo(value, d, size)));
  }
}

template <CacheKind KIND>
static void cacheCodes(const CacheLayer& cache, const float* key, const float* value, uint8_t* keys, uint8_t* values, int at) {
  constexpr bool NIBBLES = KIND == CacheKind::Int4;
  /** Stores a code; of every two vectors of bytes that nibbles make, the first is stored first. */
  const auto put = [](uint8_t* to, bool second, uint8_t code) {
    *to = static_cast<uint8_t>(second ? *to | code << 4 : code);
  };
  const int size = cache.headSize, lane = at % VW, valueByte = byteOfMember(at, 0);
  uint8_t* const keyTile = keys + at / VW * cache.keyTile;
  uint8_t* const keyData = keyTile + cacheGroups(cache) * sizeof(uint16_t) * KEY_PARAMS;
  for (int from = 0, group = 0; from < size; from += CACHE_GROUP, ++group) {
    const int n = size - from < CACHE_GROUP ? size - from : CACHE_GROUP;
    uint8_t codes[CACHE_GROUP];
    uint16_t* params = reinterpret_cast<uint16_t*>(keyTile) + group * KEY_PARAMS + lane;
    encodeGroup(key + from, n, NIBBLES ? 15 : 255, params, params + VW, codes);
    for (int i = 0; i < n; ++i) {
      const int byte = byteOfMember(from + i, lane), vector = byte / (4 * VW);
      if (NIBBLES) put(keyData + vector / 2 * 4 * VW + byte % (4 * VW), vector % 2 != 0, codes[i]);
      else keyData[byte] = codes[i];
    }
    uint8_t* const valueGroup = values + group * cache.valueTile;
    uint8_t* const valueData = valueGroup + sizeof(uint16_t) * VALUE_PARAMS + valueByte;
    params = reinterpret_cast<uint16_t*>(valueGroup) + at;
    encodeGroup(value + from, n, NIBBLES ? 15 : 255, params, params + ATTENTION_BLOCK, codes);
    for (int i = 0; i < n; ++i) {
      const int vector = i / VW;
      if (NIBBLES) put(valueData + vector / 2 * ATTENTION_BLOCK * VW + 4 * (i % VW), vector % 2 != 0, codes[i]);
      else valueData[vector * ATTENTION_BLOCK * VW + 4 * (i % VW)] = codes[i];
    }
  }
}

static void cacheRow(const CacheLayer& cache, const float* key, const float* value, int position) {
  const auto write = cache.kind == CacheKind::Int8   ? cacheCodes<CacheKind::Int8>
                     : cache.kind == CacheKind::Int4 ? cacheCodes<CacheKind::Int4>
                                                     : cacheFloats;
  for (int head = 0; head < cache.kvHeads; ++head)
    write(cache, key + head * cache.headSize, value + head * cache.headSize, keysOf(cache, head, position),
          valuesOf(cache, head, position), position % ATTENTION_BLOCK);
}

}  // namespace duobit::KERNEL_ISA
