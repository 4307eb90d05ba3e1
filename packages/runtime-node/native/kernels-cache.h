// Writing rows of the KV cache in each precision (docs/numerics.md "KV cache") and loading from it; included by the file of
// each instruction set.
#pragma once
#include "kernels-float.h"

namespace duobit::KERNEL_ISA {

constexpr bool isCoded(CacheKind kind) { return kind == CacheKind::Int8 || kind == CacheKind::Int4; }

/** Bytes of offsets and steps at the head of a tile. */
static inline size_t tileParams(const CacheLayer& cache) {
  return isCoded(cache.kind) ? static_cast<size_t>((cache.headSize + CACHE_GROUP - 1) / CACHE_GROUP) * 4 * VW : 0;
}

/** VW dimensions or positions; of int4 twice as many: those in the low, then those in the high nibbles. */
template <CacheKind KIND>
static inline void loadCached(const uint8_t* p, V* out) {
  if constexpr (KIND == CacheKind::F32) out[0] = load(reinterpret_cast<const float*>(p));
  else if constexpr (KIND == CacheKind::F16) out[0] = loadHalf(reinterpret_cast<const uint16_t*>(p));
  else if constexpr (KIND == CacheKind::Int8) out[0] = toFloats(loadWidened(p));
  else {
    const I both = loadWidened(p);
    out[0] = lowCodes(both);
    out[1] = highCodes(both);
  }
}
/** Vectors that loadCached gives, and the bytes it reads. */
template <CacheKind KIND>
constexpr int CACHED_VECTORS = KIND == CacheKind::Int4 ? 2 : 1;
template <CacheKind KIND>
constexpr int CACHED_BYTES = KIND == CacheKind::F32 ? 4 * VW : KIND == CacheKind::F16 ? 2 * VW : VW;

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

/** One head's key and value at a position, whose lane in the tiles is `lane`. */
static void cacheHead(const CacheLayer& cache, const float* key, const float* value, uint8_t* keys, uint8_t* values,
                      int lane) {
  const int size = cache.headSize;
  const size_t params = tileParams(cache), valueRow = (cache.valueTile - params) / VW;
  uint8_t *keyData = keys + params, *valueData = values + params + lane * valueRow;
  if (cache.kind == CacheKind::F32) {
    float* out = reinterpret_cast<float*>(keyData) + lane;
    for (int d = 0; d < size; ++d) out[d * VW] = key[d];
    __builtin_memcpy(valueData, value, size * sizeof(float));
    return;
  }
  if (cache.kind == CacheKind::F16) {
    uint16_t* out = reinterpret_cast<uint16_t*>(keyData) + lane;
    for (int d = 0; d < size; d += VW) {
      uint16_t halves[VW];
      storeHalf(halves, limitToHalf(loadTo(key, d, size)));
      for (int i = 0; i < VW && d + i < size; ++i) out[(d + i) * VW] = halves[i];
      storeHalf(reinterpret_cast<uint16_t*>(valueData) + d, limitToHalf(loadTo(value, d, size)));
    }
    return;
  }
  const bool nibbles = cache.kind == CacheKind::Int4;
  const float levels = nibbles ? 15 : 255;
  for (int d = 0, group = 0; d < size; d += CACHE_GROUP, ++group) {
    const int n = size - d < CACHE_GROUP ? size - d : CACHE_GROUP;
    uint8_t codes[CACHE_GROUP];
    uint16_t* param = reinterpret_cast<uint16_t*>(keys) + group * 2 * VW + lane;
    encodeGroup(key + d, n, levels, param, param + VW, codes);
    if (nibbles)
      for (int i = 0; i < n; i += 2) keyData[(d + i) / 2 * VW + lane] = static_cast<uint8_t>(codes[i] | codes[i + 1] << 4);
    else
      for (int i = 0; i < n; ++i) keyData[(d + i) * VW + lane] = codes[i];
    param = reinterpret_cast<uint16_t*>(values) + group * 2 * VW + lane;
    encodeGroup(value + d, n, levels, param, param + VW, codes);
    if (nibbles)
      for (int i = 0; i < n; i += 2 * VW)
        for (int j = 0; j < VW; ++j)
          valueData[(d + i) / 2 + j] = static_cast<uint8_t>(codes[i + j] | codes[i + VW + j] << 4);
    else __builtin_memcpy(valueData + d, codes, n);
  }
}

static void cacheRow(const CacheLayer& cache, const float* key, const float* value, int position) {
  const size_t tile = position / VW;
  for (int head = 0; head < cache.kvHeads; ++head)
    cacheHead(cache, key + head * cache.headSize, value + head * cache.headSize,
              cache.keys + head * cache.keyPlane + tile * cache.keyTile,
              cache.values + head * cache.valuePlane + tile * cache.valueTile, position % VW);
}

}  // namespace duobit::KERNEL_ISA
