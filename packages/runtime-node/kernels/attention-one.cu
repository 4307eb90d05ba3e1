// Attention of a run of one row, which also turns the row's query and key and writes the cache. What it costs is latencies that
// depend on each other: so all that earlier runs wrote is on its way before the kernels before this one have ended, a lane keeps what it
// loads in registers, and threads wait for each other once.
#include "attention.cuh"

struct AttentionOneArgs {
  AttentionArgs attention;
  /** Of the row. */
  const float* key;
  const float* value;
  /** Null where query and key are not to be turned. */
  const float2* table;
};

/** 16 bytes of a position's key or value, and for codes their offset and step. */
struct CachedChunk {
  uint4 bytes;
  u32 params;
};

/** Warps of a block, and positions of a lane whose keys and values are in registers at once: more would spill. */
template <CacheKind KIND>
struct AtOnce {
  static constexpr int WARPS = KIND == CACHE_INT4 ? 8 : 16;
  static constexpr int ROWS = KIND == CACHE_INT8 || KIND == CACHE_INT4 ? 2 : 4;
};

/** Where a lane's 16 bytes of a position are. Lanes that share a position are a power of two; some may have no bytes. */
struct LanePlace {
  int lanes;
  int chunk;
  bool holds;
};

/** A chunk of a head; past its end, its last values. Heads are multiples of 8: four values side by side are of one half. */
template <int VALUES>
DEVICE void loadChunk(const float* head, int size, int chunk, float (&out)[VALUES]) {
#pragma unroll
  for (int i = 0; i < VALUES; i += 4) {
    const float4 v = *reinterpret_cast<const float4*>(head + min(chunk * VALUES + i, size - 4));
    out[i] = v.x, out[i + 1] = v.y, out[i + 2] = v.z, out[i + 3] = v.w;
  }
}

/** Zeros in the place of values past the end; not where they are loaded, which would wait for them. */
template <int VALUES>
DEVICE void clearBeyond(int held, float (&values)[VALUES]) {
#pragma unroll
  for (int i = 0; i < VALUES; ++i)
    if (i >= held) values[i] = 0;
}

template <CacheKind KIND>
DEVICE float sumOf(const float (&query)[Cached<KIND>::VALUES]) {
  float sum = 0;
  if (Cached<KIND>::CODED)
#pragma unroll
    for (int i = 0; i < Cached<KIND>::VALUES; ++i) sum += query[i];
  return sum;
}

/** A chunk as the cache holds it: what storeGroup writes. All lanes of a warp take part; `held` values are of the head. */
template <CacheKind KIND>
DEVICE CachedChunk encodeChunk(const float (&x)[Cached<KIND>::VALUES], int held, int lanes) {
  constexpr int VALUES = Cached<KIND>::VALUES;
  u32 words[4] = {0, 0, 0, 0}, params = 0;
  if (KIND == CACHE_F32) {
#pragma unroll
    for (int i = 0; i < VALUES; ++i) words[i & 3] = static_cast<u32>(__float_as_int(x[i]));
  } else if (KIND == CACHE_F16) {
#pragma unroll
    for (int i = 0; i < VALUES; ++i) words[i / 2 & 3] |= static_cast<u32>(floatToHalf(limitToHalf(x[i]))) << 16 * (i & 1);
  } else {
    const float levels = KIND == CACHE_INT8 ? 255.0f : 15.0f;
    float least = INFINITE, most = -INFINITE, broken = 0;
#pragma unroll
    for (int i = 0; i < VALUES; ++i) {
      const float v = limitToHalf(x[i]);
      if (i >= held) continue;
      least = fminf(least, v);
      most = fmaxf(most, v);
      if (!(v == v)) broken = 1;
    }
    // Two lanes have a group of int8.
    if (KIND == CACHE_INT8 && lanes > 1) {
      least = fminf(least, __shfl_xor_sync(FULL, least, 1));
      most = fmaxf(most, __shfl_xor_sync(FULL, most, 1));
      broken = fmaxf(broken, __shfl_xor_sync(FULL, broken, 1));
    }
    const u16 low = floatToHalf(broken > 0 ? NOT_A_NUMBER : least);
    const float lo = halfToFloat(low);
    const u16 stepBits = floatToHalf(broken > 0 ? NOT_A_NUMBER : __fdiv_rn(__fsub_rn(most, lo), levels));
    const float step = halfToFloat(stepBits);
    constexpr int BITS = KIND == CACHE_INT8 ? 8 : 4, IN_WORD = 32 / BITS;
#pragma unroll
    for (int i = 0; i < VALUES; ++i) {
      u32 code = 0;
      if (i < held && step > 0)
        code = static_cast<u32>(fminf(fmaxf(rintf(__fdiv_rn(__fsub_rn(limitToHalf(x[i]), lo), step)), 0.0f), levels));
      words[i / IN_WORD & 3] |= code << BITS * (i % IN_WORD);
    }
    // Infinite where there is nothing.
    if (held > 0) params = static_cast<u32>(low) | static_cast<u32>(stepBits) << 16;
  }
  return {make_uint4(words[0], words[1], words[2], words[3]), params};
}

/** A lane's chunks of rows `first`, `first + spacing` and so on, from where it has those of row 0; of rows from `end` on, zeros. */
template <CacheKind KIND, int ROWS>
DEVICE void loadRows(const AttentionArgs& a, const u8* chunks, const u32* params, int first, int spacing, int end,
                     CachedChunk (&out)[ROWS]) {
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    const u32 p = static_cast<u32>(first + r * spacing);
    const bool is = first + r * spacing < end;
    out[r].bytes = loadWhere(is, reinterpret_cast<const uint4*>(chunks + static_cast<u64>(p) * static_cast<u32>(a.rowBytes)));
    out[r].params = Cached<KIND>::CODED ? loadWhere(is, params + static_cast<u64>(p) * static_cast<u32>(a.groups)) : 0;
  }
}

/** What a lane knows of the positions that it has seen: the largest score, the sum of weights, and values times weights. */
template <CacheKind KIND>
struct Seen {
  float highest = -INFINITE, weight = 0, mix[Cached<KIND>::VALUES] = {};
};

template <CacheKind KIND, int ROWS>
DEVICE void scoreRows(const CachedChunk (&keys)[ROWS], const float (&query)[Cached<KIND>::VALUES], float querySum, int lanes,
                      float scale, float (&scores)[ROWS]) {
  constexpr int VALUES = Cached<KIND>::VALUES;
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    float v[VALUES], dot = 0;
    decodeCached<KIND>(keys[r].bytes, v);
#pragma unroll
    for (int i = 0; i < VALUES; ++i) dot = fmaf(v[i], query[i], dot);
    scores[r] = dot;
    if (Cached<KIND>::CODED)
      scores[r] = fmaf(halfToFloat(static_cast<u16>(keys[r].params >> 16)), dot,
                       halfToFloat(static_cast<u16>(keys[r].params)) * querySum);
  }
  for (int i = 1; i < lanes; i <<= 1)
#pragma unroll
    for (int r = 0; r < ROWS; ++r) scores[r] += __shfl_xor_sync(FULL, scores[r], i);
#pragma unroll
  for (int r = 0; r < ROWS; ++r) scores[r] *= scale;
}

/** The rows `first`, `first + spacing` and so on before `end` are seen too. */
template <CacheKind KIND, int ROWS>
DEVICE void mixRows(Seen<KIND>& seen, const float (&scores)[ROWS], const CachedChunk (&values)[ROWS], int first, int spacing, int end) {
  constexpr int VALUES = Cached<KIND>::VALUES;
  float next = seen.highest, sum = 0;
#pragma unroll
  for (int r = 0; r < ROWS; ++r)
    if (first + r * spacing < end) next = fmaxf(next, scores[r]);
  const float factor = shrinking(seen.highest, next);
  seen.highest = next;
#pragma unroll
  for (int i = 0; i < VALUES; ++i) seen.mix[i] *= factor;
#pragma unroll
  for (int r = 0; r < ROWS; ++r) {
    // Not a number where the score is not, though no maximum shows it. Without a branch, as in `shrinking`.
    float w = expf(scores[r] - next), v[VALUES];
    if (first + r * spacing >= end) w = 0;
    sum += w;
    decodeCached<KIND>(values[r].bytes, v);
    if (Cached<KIND>::CODED) {
      const float lo = w * halfToFloat(static_cast<u16>(values[r].params));
      w *= halfToFloat(static_cast<u16>(values[r].params >> 16));
#pragma unroll
      for (int i = 0; i < VALUES; ++i) seen.mix[i] += fmaf(w, v[i], lo);
    } else {
#pragma unroll
      for (int i = 0; i < VALUES; ++i) seen.mix[i] = fmaf(w, v[i], seen.mix[i]);
    }
  }
  seen.weight = seen.weight * factor + sum;
}

/** What the lanes of a warp that have the same chunk have seen, of different positions, together. */
template <CacheKind KIND>
DEVICE void joinLanes(Seen<KIND>& seen, int lanes) {
  constexpr int VALUES = Cached<KIND>::VALUES;
  // Lanes of other chunks have seen the same scores.
  const float most = maxOrdered(seen.highest), factor = shrinking(seen.highest, most);
  seen.highest = most;
  seen.weight *= factor;
#pragma unroll
  for (int i = 0; i < VALUES; ++i) seen.mix[i] *= factor;
  for (int i = lanes; i < 32; i <<= 1) {
    seen.weight += __shfl_xor_sync(FULL, seen.weight, i);
#pragma unroll
    for (int j = 0; j < VALUES; ++j) seen.mix[j] += __shfl_xor_sync(FULL, seen.mix[j], i);
  }
}

/** Part of a head, a quad of each half of it, for one thread; and the angles by which it is to be turned. */
struct HeadPart {
  const float* from;
  float* to;
  int half;
  float4 turns[2];
};

/** A thread's part of the block's query, or of the key and value that it has in common with others; what is known before the row is. */
DEVICE HeadPart headPart(const AttentionOneArgs& args, int head, int position, float (*heads)[MOST_HEAD]) {
  const AttentionArgs& a = args.attention;
  const int which = threadIdx.x >> 6, k = 4 * (threadIdx.x & 63), size = a.headSize, half = size / 2;
  HeadPart part;
  part.from = k >= half || which > 2 ? nullptr
              : which == 0           ? a.query + head * size + k
                                     : (which == 1 ? args.key : args.value) + head / a.sharing * size + k;
  part.to = heads[min(which, 2)] + k;
  part.half = half;
  // Not looked at where nothing is turned. Loads that the compiler may move it moves behind the wait for the inputs.
  const bool turns = part.from && which < 2 && args.table;
  const uint4* const angles = reinterpret_cast<const uint4*>(args.table + static_cast<u64>(position) * half + k);
#pragma unroll
  for (int i = 0; i < 2; ++i) part.turns[i] = floatsOf(loadWhere(turns, angles + i));
  return part;
}

DEVICE void takePart(const HeadPart& part, bool turns) {
  if (!part.from) return;
  float4 low = __ldcg(reinterpret_cast<const float4*>(part.from)), high = __ldcg(reinterpret_cast<const float4*>(part.from + part.half));
  if (turns) {
    turnPair(low.x, high.x, make_float2(part.turns[0].x, part.turns[0].y));
    turnPair(low.y, high.y, make_float2(part.turns[0].z, part.turns[0].w));
    turnPair(low.z, high.z, make_float2(part.turns[1].x, part.turns[1].y));
    turnPair(low.w, high.w, make_float2(part.turns[1].z, part.turns[1].w));
  }
  *reinterpret_cast<float4*>(part.to) = low;
  *reinterpret_cast<float4*>(part.to + part.half) = high;
}

/** The row's own position: its key and value, used as the cache holds them, and written there. `heads`: query, key, value. */
template <CacheKind KIND>
DEVICE void attendOwn(const AttentionArgs& a, const float (*heads)[MOST_HEAD], u64 at, LanePlace place, Seen<KIND>& seen) {
  constexpr int VALUES = Cached<KIND>::VALUES;
  const int size = a.headSize, held = size - place.chunk * VALUES;
  float query[VALUES], key[VALUES], value[VALUES], scores[1];
  loadChunk(heads[0], size, place.chunk, query);
  loadChunk(heads[1], size, place.chunk, key);
  loadChunk(heads[2], size, place.chunk, value);
  clearBeyond(held, query);
  clearBeyond(held, key);
  clearBeyond(held, value);
  const CachedChunk keys[1] = {encodeChunk<KIND>(key, held, place.lanes)};
  const CachedChunk values[1] = {encodeChunk<KIND>(value, held, place.lanes)};
  // Blocks of heads that share a key write the same bytes.
  if (place.holds && laneOf() < place.lanes) {
    *(reinterpret_cast<uint4*>(a.keys + at * a.rowBytes) + place.chunk) = keys[0].bytes;
    *(reinterpret_cast<uint4*>(a.values + at * a.rowBytes) + place.chunk) = values[0].bytes;
    if (Cached<KIND>::CODED && place.chunk * VALUES % CACHE_GROUP == 0) {
      a.keyParams[at * a.groups + place.chunk * VALUES / CACHE_GROUP] = keys[0].params;
      a.valueParams[at * a.groups + place.chunk * VALUES / CACHE_GROUP] = values[0].params;
    }
  }
  scoreRows<KIND>(keys, query, sumOf<KIND>(query), place.lanes, a.scale, scores);
  mixRows(seen, scores, values, laneOf(), 0, place.lanes);
}

/**
 * A block has a head and a part of the positions. So many lanes as a head has 16 bytes share a position; a lane has the same place in
 * its key and its value. What earlier runs wrote (they have ended: a run begins with a copy or a graph of its own) is loaded before
 * the inputs are waited for.
 */
template <CacheKind KIND>
DEVICE void attendOne(const AttentionOneArgs& args) {
  // The last warp has the row's own position, whose key and value are still to be made; the others go over older ones.
  constexpr int VALUES = Cached<KIND>::VALUES, ROWS = AtOnce<KIND>::ROWS, WARPS = AtOnce<KIND>::WARPS, OLDER = WARPS - 1;
  constexpr int MOST = 32 * VALUES < MOST_HEAD ? 32 * VALUES : MOST_HEAD;
  SHARED(float4, mixes, WARPS * MOST / 4);
  SHARED(float2, stats, WARPS);
  SHARED(u32, before, 1);
  SHARED(float4, headQuads, 3 * MOST_HEAD / 4);
  float(*const heads)[MOST_HEAD] = reinterpret_cast<float(*)[MOST_HEAD]>(headQuads);
  const AttentionArgs& a = args.attention;
  const int head = blockIdx.x, part = blockIdx.z, parts = gridDim.z, kvHead = head / a.sharing;
  const int warp = warpOf(), lane = laneOf(), size = a.headSize;
  const int chunks = (size + VALUES - 1) / VALUES, shift = 32 - __clz(chunks - 1), lanes = 1 << shift, together = 32 >> shift;
  const LanePlace place = {lanes, lane & (lanes - 1), (lane & (lanes - 1)) < chunks};
  const int last = __ldcg(&a.state->position), from = a.window > 0 ? max(0, last - a.window + 1) : 0;
  const int perPart = (last - from + parts - 1) / parts, begin = from + part * perPart;
  const bool isOlder = warp < OLDER;
  const int end = isOlder ? min(begin + perPart, last) : 0;
  const int spacing = OLDER * together;
  const u64 plane = static_cast<u64>(kvHead) * a.capacity;
  const u64 chunkAt = plane * a.rowBytes + place.chunk * 16, groupAt = plane * a.groups + place.chunk * VALUES / CACHE_GROUP;
  const u8 *const keyChunks = a.keys + chunkAt, *const valueChunks = a.values + chunkAt;
  const u32 *const keyParams = a.keyParams + groupAt, *const valueParams = a.valueParams + groupAt;
  int first = begin + warp * together + (lane >> shift);
  // Lanes that have no bytes load nothing.
  const int loaded = place.holds ? end : 0;
  CachedChunk keys[ROWS], values[ROWS];
  loadRows<KIND>(a, keyChunks, keyParams, first, spacing, loaded, keys);
  loadRows<KIND>(a, valueChunks, valueParams, first, spacing, loaded, values);
  const HeadPart own = headPart(args, head, last, heads);

  awaitInputs();
  takePart(own, args.table && threadIdx.x < 128);
  __syncthreads();
  beginNext();
  Seen<KIND> seen;
  if (isOlder) {
    float query[VALUES];
    loadChunk(heads[0], size, place.chunk, query);
    clearBeyond(size - place.chunk * VALUES, query);
    const float querySum = sumOf<KIND>(query);
    // As often for all lanes of a warp.
    for (int left = end - begin - warp * together; left > 0; left -= ROWS * spacing) {
      float scores[ROWS];
      scoreRows<KIND>(keys, query, querySum, lanes, a.scale, scores);
      const int next = first + ROWS * spacing;
      loadRows<KIND>(a, keyChunks, keyParams, next, spacing, loaded, keys);
      mixRows(seen, scores, values, first, spacing, end);
      loadRows<KIND>(a, valueChunks, valueParams, next, spacing, loaded, values);
      first = next;
    }
  } else if (part == parts - 1) {
    attendOwn(a, heads, plane + last, place, seen);
  }
  joinLanes(seen, lanes);
  if (lane < chunks)
#pragma unroll
    for (int i = 0; i < VALUES; i += 4)
      mixes[((warp * chunks + lane) * VALUES + i) / 4] = make_float4(seen.mix[i], seen.mix[i + 1], seen.mix[i + 2], seen.mix[i + 3]);
  if (lane == 0) stats[warp] = make_float2(seen.highest, seen.weight);
  __syncthreads();
  // A lane has the factor of a warp.
  const float2 stat = stats[lane & (WARPS - 1)];
  const float most = maxOrdered(stat.x), factor = shrinking(stat.x, most), share = stat.y * factor;
  float weight = 0;
  float* const out = a.out + head * size;
  float* const to = parts == 1 ? out : a.partMix + static_cast<u64>(head * parts + part) * size;
  const float* const ofWarps = reinterpret_cast<const float*>(mixes);
#pragma unroll 1
  for (int base = 32 * warp; base < size; base += 32 * WARPS) {
    const int d = min(base + lane, size - 1);
    float sum = 0;
    weight = 0;
#pragma unroll
    for (int w = 0; w < WARPS; ++w) {
      sum = fmaf(ofWarps[w * chunks * VALUES + d], __shfl_sync(FULL, factor, w), sum);
      weight += __shfl_sync(FULL, share, w);
    }
    if (base + lane < size) to[d] = parts == 1 ? __fdiv_rn(sum, weight) : sum;
  }
  if (parts > 1) joinParts(a, head, part, parts, most, weight, before, out);
}

#define ONE_ROW_KERNEL(name, KIND) \
  KERNEL_OF(attention_one_##name, AttentionOneArgs, 32 * AtOnce<KIND>::WARPS, 1) { attendOne<KIND>(args); }

ONE_ROW_KERNEL(f32, CACHE_F32)
ONE_ROW_KERNEL(f16, CACHE_F16)
ONE_ROW_KERNEL(int8, CACHE_INT8)
ONE_ROW_KERNEL(int4, CACHE_INT4)
