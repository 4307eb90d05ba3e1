// Rotary embedding, writing the KV cache, and attention over it. The cache is [layer][sequence][kv head][position] rows of whole 16
// bytes, and for int8 and int4 beside it an offset and a step in f16 for every 32 dimensions (docs/numerics.md "KV cache").
#include "attention.cuh"

struct TableArgs {
  const double* frequencies;
  float2* table;
  int half;
  int capacity;
};

/** cos and sin of every position and frequency; the angle in double precision. */
KERNEL(rope_table, TableArgs, 256) {
  waitForInputs();
  const u64 at = static_cast<u64>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= static_cast<u64>(args.half) * args.capacity) return;
  const double angle = static_cast<double>(at / args.half) * args.frequencies[at % args.half];
  args.table[at] = make_float2(static_cast<float>(cos(angle)), static_cast<float>(sin(angle)));
}

DEVICE void turnHead(float* head, const float2* table, int half, int i) { turnPair(head[i], head[i + half], table[i]); }

struct RopeArgs {
  float* x;
  const float2* table;
  const RunState* state;
  int heads;
  int half;
  int stride;
};

template <bool SEVERAL>
DEVICE void turnRow(const RopeArgs& args) {
  waitForInputs();
  const int row = blockIdx.x;
  const float2* const table = args.table + static_cast<u64>(placeOfRow<SEVERAL>(args.state, row).position) * args.half;
  for (int i = threadIdx.x; i < args.heads * args.half; i += blockDim.x)
    turnHead(args.x + static_cast<u64>(row) * args.stride + i / args.half * 2 * args.half, table, args.half, i % args.half);
}

KERNEL(rope, RopeArgs, 256) { turnRow<false>(args); }
KERNEL(rope_several, RopeArgs, 256) { turnRow<true>(args); }

struct CacheArgs {
  float* query;
  float* key;
  const float* value;
  const float2* table;
  const RunState* state;
  /** Of this layer. */
  u8* keys;
  u8* values;
  u32* keyParams;
  u32* valueParams;
  int sharing;
  int headSize;
  int capacity;
  int rowBytes;
  int groups;
  int strideQuery;
  int strideKey;
  int strideValue;
  /** Whether query and key are to be turned. */
  int turns;
  int kind;
};

/** A warp writes up to 32 dimensions of a row of the cache. */
DEVICE void storeGroup(int kind, int headSize, const float* head, u8* row, u32* params, int group) {
  const int lane = laneOf(), d = group * CACHE_GROUP + lane;
  const bool held = d < headSize;
  const float x = held ? head[d] : 0.0f;
  if (kind == CACHE_F32) {
    if (held) reinterpret_cast<float*>(row)[d] = x;
    return;
  }
  const float v = limitToHalf(x);
  if (kind == CACHE_F16) {
    if (held) reinterpret_cast<u16*>(row)[d] = floatToHalf(v);
    return;
  }
  const float levels = kind == CACHE_INT8 ? 255.0f : 15.0f;
  const float least = minWarp(held ? v : INFINITE), most = maxWarp(held ? v : -INFINITE);
  const bool broken = maxWarp(held && !(v == v) ? 1.0f : 0.0f) > 0;
  const u16 low = floatToHalf(broken ? NOT_A_NUMBER : least);
  const float lo = halfToFloat(low);
  const u16 stepBits = floatToHalf(broken ? NOT_A_NUMBER : __fdiv_rn(__fsub_rn(most, lo), levels));
  const float step = halfToFloat(stepBits);
  u32 code = 0;
  if (held && step > 0) code = static_cast<u32>(fminf(fmaxf(rintf(__fdiv_rn(__fsub_rn(v, lo), step)), 0.0f), levels));
  if (kind == CACHE_INT4) {
    code |= __shfl_xor_sync(FULL, code, 1) << 4;
    if ((lane & 1) == 0 && held) row[d >> 1] = static_cast<u8>(code);
  } else if (held) {
    row[d] = static_cast<u8>(code);
  }
  if (lane == 0) params[group] = static_cast<u32>(low) | static_cast<u32>(stepBits) << 16;
}

/** A block writes a key and a value of a head at a row of the cache. */
DEVICE void storeRow(int kind, int headSize, const float* key, const float* value, u8* keyRow, u8* valueRow,
                     u32* keyParams, u32* valueParams) {
  const int groups = (headSize + CACHE_GROUP - 1) / CACHE_GROUP;
  for (int i = warpOf(); i < 2 * groups; i += blockDim.x >> 5) {
    const bool isKey = i < groups;
    storeGroup(kind, headSize, isKey ? key : value, isKey ? keyRow : valueRow, isKey ? keyParams : valueParams,
               isKey ? i : i - groups);
  }
}

/** A block has one row and one kv head: turns its queries and key where asked to, and writes key and value. */
template <bool SEVERAL>
DEVICE void cacheRow(const CacheArgs& args) {
  waitForInputs();
  const int row = blockIdx.x, head = blockIdx.y, half = args.headSize / 2;
  const RowPlace place = placeOfRow<SEVERAL>(args.state, row);
  const int position = place.position;
  const float2* const table = args.table + static_cast<u64>(position) * half;
  float* const key = args.key + static_cast<u64>(row) * args.strideKey + head * args.headSize;
  const float* const value = args.value + static_cast<u64>(row) * args.strideValue + head * args.headSize;
  if (args.turns) {
    float* const query = args.query + static_cast<u64>(row) * args.strideQuery + head * args.sharing * args.headSize;
    for (int i = threadIdx.x; i < args.sharing * half; i += blockDim.x)
      turnHead(query + i / half * args.headSize, table, half, i % half);
    for (int i = threadIdx.x; i < half; i += blockDim.x) turnHead(key, table, half, i);
    __syncthreads();
  }
  const int plane = SEVERAL ? place.sequence * gridDim.y + head : head;
  const u64 at = static_cast<u64>(plane) * args.capacity + position;
  storeRow(args.kind, args.headSize, key, value, args.keys + at * args.rowBytes, args.values + at * args.rowBytes,
           args.keyParams + at * args.groups, args.valueParams + at * args.groups);
}

KERNEL(rope_cache, CacheArgs, 128) { cacheRow<false>(args); }
KERNEL(rope_cache_several, CacheArgs, 128) { cacheRow<true>(args); }

#define BLOCK_POSITIONS 128

/** A block has one row, one head and one part of the positions; eight lanes share a position's key. */
template <CacheKind KIND, bool SEVERAL>
DEVICE void attend(const AttentionArgs& a) {
  waitForInputs();
  constexpr int VALUES = Cached<KIND>::VALUES;
  constexpr bool CODED = Cached<KIND>::CODED;
  // More would spill registers.
  constexpr int AT_ONCE = SEVERAL || KIND == CACHE_F32 ? 1 : 2;
  SHARED(float, query, MOST_HEAD);
  /** Of a coded cache: sums of the query over the values of 16 bytes. */
  SHARED(float, querySums, MOST_HEAD / 16);
  SHARED(float, weights, BLOCK_POSITIONS);
  SHARED(float, mixes, ATTENTION_THREADS * VALUES);
  SHARED(float, shared, 32);
  SHARED(u32, before, 1);
  const int head = blockIdx.x, row = blockIdx.y, part = blockIdx.z, parts = gridDim.z;
  const int thread = threadIdx.x, lane = laneOf(), sub = lane & 7, size = a.headSize;
  const RowPlace place = placeOfRow<SEVERAL>(a.state, row);
  const int last = place.position, from = a.window > 0 ? max(0, last - a.window + 1) : 0;
  const int total = last + 1 - from, perPart = ((total + parts - 1) / parts + BLOCK_POSITIONS - 1) / BLOCK_POSITIONS * BLOCK_POSITIONS;
  const int begin = from + part * perPart, end = min(begin + perPart, last + 1);
  const int chunks = (size + VALUES - 1) / VALUES, padded = chunks * VALUES;
  const float* const own = a.query + static_cast<u64>(row) * a.strideQuery + head * size;
  for (int d = thread; d < padded; d += ATTENTION_THREADS) query[d] = d < size ? own[d] : 0.0f;
  __syncthreads();
  if (CODED) {
    for (int c = thread; c < chunks; c += ATTENTION_THREADS) {
      float sum = 0;
      for (int i = 0; i < VALUES; ++i) sum += query[c * VALUES + i];
      querySums[c] = sum;
    }
    __syncthreads();
  }
  const int plane = head / a.sharing + (SEVERAL ? place.sequence * (static_cast<int>(gridDim.x) / a.sharing) : 0);
  const u64 rowAt = static_cast<u64>(plane) * a.capacity;
  // The threads of a column of values: one chunk of dimensions, every groups-th position.
  const int spread = ATTENTION_THREADS / chunks, chunk = thread % chunks, offset = thread / chunks;
  float highest = -INFINITE, weight = 0, mix[VALUES];
#pragma unroll
  for (int i = 0; i < VALUES; ++i) mix[i] = 0;
  for (int first = begin; first < end; first += BLOCK_POSITIONS) {
    const int count = min(BLOCK_POSITIONS, end - first);
    float most = -INFINITE;
    // As often for all threads; positions past the last are the last again.
    const int rounds = (count + ATTENTION_THREADS / 8 - 1) / (ATTENTION_THREADS / 8);
#pragma unroll AT_ONCE
    for (int i = 0; i < rounds; ++i) {
      const int p = i * (ATTENTION_THREADS / 8) + (thread >> 3);
      const u64 at = rowAt + first + min(p, count - 1);
      float score = 0;
      for (int c = sub; c < chunks; c += 8) {
        float v[VALUES];
        decodeCached<KIND>(*(reinterpret_cast<const uint4*>(a.keys + at * a.rowBytes) + c), v);
        float dot = 0;
#pragma unroll
        for (int i = 0; i < VALUES; ++i) dot = fmaf(v[i], query[c * VALUES + i], dot);
        if (CODED) {
          const u32 pair = a.keyParams[at * a.groups + c * VALUES / CACHE_GROUP];
          score = fmaf(halfToFloat(static_cast<u16>(pair)), querySums[c], score);
          score = fmaf(halfToFloat(static_cast<u16>(pair >> 16)), dot, score);
        } else {
          score += dot;
        }
      }
      score += __shfl_xor_sync(FULL, score, 1);
      score += __shfl_xor_sync(FULL, score, 2);
      score += __shfl_xor_sync(FULL, score, 4);
      score *= a.scale;
      if (p < count) {
        if (sub == 0) weights[p] = score;
        most = fmaxf(most, score);
      }
    }
    const float next = fmaxf(highest, maxBlock(most, shared));
    // Before the first block nothing is held, and a NaN shows in the weights.
    const float factor = shrinking(highest, next);
    highest = next;
    float sum = 0;
    for (int p = thread; p < count; p += ATTENTION_THREADS) sum += weights[p] = expf(weights[p] - highest);
    weight = weight * factor + sumBlock(sum, shared);
#pragma unroll
    for (int i = 0; i < VALUES; ++i) mix[i] *= factor;
    if (offset < spread)
#pragma unroll AT_ONCE
      for (int p = offset; p < count; p += spread) {
        const u64 at = rowAt + first + p;
        float v[VALUES], w = weights[p];
        decodeCached<KIND>(*(reinterpret_cast<const uint4*>(a.values + at * a.rowBytes) + chunk), v);
        if (CODED) {
          const u32 pair = a.valueParams[at * a.groups + chunk * VALUES / CACHE_GROUP];
          const float lo = w * halfToFloat(static_cast<u16>(pair));
          w *= halfToFloat(static_cast<u16>(pair >> 16));
#pragma unroll
          for (int i = 0; i < VALUES; ++i) mix[i] += fmaf(w, v[i], lo);
        } else {
#pragma unroll
          for (int i = 0; i < VALUES; ++i) mix[i] = fmaf(w, v[i], mix[i]);
        }
      }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < VALUES; ++i) mixes[thread * VALUES + i] = mix[i];
  __syncthreads();
  const u64 pair = static_cast<u64>(row) * gridDim.x + head;
  float* const out = a.out + static_cast<u64>(row) * a.strideOut + head * size;
  float* const to = parts == 1 ? out : a.partMix + (pair * parts + part) * size;
  for (int d = thread; d < size; d += ATTENTION_THREADS) {
    float sum = 0;
    for (int s = 0; s < spread; ++s) sum += mixes[(s * chunks + d / VALUES) * VALUES + d % VALUES];
    to[d] = parts == 1 ? __fdiv_rn(sum, weight) : sum;
  }
  if (parts > 1) joinParts(a, pair, part, parts, highest, weight, before, out);
}

KERNEL_OF(attention_f32, AttentionArgs, ATTENTION_THREADS, 2) { attend<CACHE_F32, false>(args); }
KERNEL_OF(attention_f16, AttentionArgs, ATTENTION_THREADS, 2) { attend<CACHE_F16, false>(args); }
KERNEL_OF(attention_int8, AttentionArgs, ATTENTION_THREADS, 2) { attend<CACHE_INT8, false>(args); }
KERNEL_OF(attention_int4, AttentionArgs, ATTENTION_THREADS, 2) { attend<CACHE_INT4, false>(args); }
KERNEL_OF(attention_several_f32, AttentionArgs, ATTENTION_THREADS, 2) { attend<CACHE_F32, true>(args); }
KERNEL_OF(attention_several_f16, AttentionArgs, ATTENTION_THREADS, 2) { attend<CACHE_F16, true>(args); }
KERNEL_OF(attention_several_int8, AttentionArgs, ATTENTION_THREADS, 2) { attend<CACHE_INT8, true>(args); }
KERNEL_OF(attention_several_int4, AttentionArgs, ATTENTION_THREADS, 2) { attend<CACHE_INT4, true>(args); }
