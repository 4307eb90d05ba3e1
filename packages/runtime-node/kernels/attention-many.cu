// Attention of many rows of one sequence, such as a prompt: a block has a head and a tile of queries and goes over tiles of
// positions, so that a key and a value are read and decoded once for all of them. All arithmetic is f32, as for single rows.
#include "attention.cu"

struct ManyArgs {
  const float* query;
  float* out;
  /** Of this layer and sequence; rope_cache has written the rows of the run. */
  const u8* keys;
  const u8* values;
  const u32* keyParams;
  const u32* valueParams;
  const RunState* state;
  int headSize;
  int sharing;
  int capacity;
  int rowBytes;
  int groups;
  int strideQuery;
  int strideOut;
  /** 0: none. */
  int window;
  /** Tiles of queries that go first, from the last of the run down; then come the others from the first on. */
  int heavyTiles;
  float scale;
};

#define MANY_THREADS 128
#define MANY_QUERIES 64
#define MANY_POSITIONS 64
/** Floats between rows of weights in shared memory. The four that pad a row keep reads of quads free of bank conflicts. */
#define WEIGHT_STRIDE (MANY_POSITIONS + 4)
/** In the place of a weight: the query does not see the position. */
#define UNSEEN -1.0f

/**
 * Who has what. A warp has 16 queries and all positions of a tile, so that maxima and sums of a query stay within it. A thread has
 * queries 4 r + `query` of these, positions 8 p + `column`, and of results quads 8 k + `column` of dimensions. Lanes that read the
 * same quad of shared memory are neighbours, by bit 0 or by bits 1 and 2 of their number, which is when one access serves them.
 */
struct ManyPlace {
  int query, column;
};

DEVICE ManyPlace placeOfLane() {
  const int lane = laneOf();
  return {(lane & 1) | (lane >> 3 & 2), lane >> 1 & 7};
}

/** A tile of keys or values is carried from the cache to shared memory in 16 bytes: which of them a thread has. */
template <CacheKind KIND, int HEAD>
struct ManyCarrying {
  static constexpr int VALUES = Cached<KIND>::VALUES;
  static constexpr int COUNT = MANY_POSITIONS * HEAD / VALUES / MANY_THREADS;
  /** Eight threads have 32 dimensions, so that each store of theirs finds banks of its own. */
  static constexpr int CHUNKS = CACHE_GROUP / VALUES, AT_ONCE = 8 / CHUNKS, GROUPS = HEAD / CACHE_GROUP;
  /** Positions from one to the next that a thread has. */
  static constexpr int ADVANCE = MANY_THREADS / 8 / GROUPS * AT_ONCE;
  static_assert(COUNT * ADVANCE == MANY_POSITIONS, "a tile is carried once");
  int position, group, chunk;
  uint4 bytes[COUNT];
  /** Of a coded cache. */
  u32 pairs[COUNT];
};

template <CacheKind KIND, int HEAD>
DEVICE void beginCarrying(ManyCarrying<KIND, HEAD>& c) {
  typedef ManyCarrying<KIND, HEAD> Carrying;
  const int of = threadIdx.x & 7, eight = threadIdx.x >> 3;
  c.position = eight / Carrying::GROUPS * Carrying::AT_ONCE + of / Carrying::CHUNKS;
  c.group = eight % Carrying::GROUPS;
  c.chunk = c.group * Carrying::CHUNKS + of % Carrying::CHUNKS;
}

/** Takes what the cache has of a tile of `count` positions from row `at` on; nothing past them is read. */
template <CacheKind KIND, int HEAD>
DEVICE void takeTile(const ManyArgs& a, const u8* rows, const u32* params, u64 at, int count, ManyCarrying<KIND, HEAD>& c) {
  typedef ManyCarrying<KIND, HEAD> Carrying;
  const int limit = c.chunk * Carrying::VALUES < a.headSize ? count : 0;
  const u8* const from = rows + at * a.rowBytes + c.position * a.rowBytes + 16 * c.chunk;
  const u32* const fromParams = params + at * a.groups + c.position * a.groups + c.group;
#pragma unroll
  for (int i = 0; i < Carrying::COUNT; ++i) {
    const int ahead = i * Carrying::ADVANCE;
    const bool held = c.position + ahead < limit;
    c.bytes[i] = held ? *reinterpret_cast<const uint4*>(from + ahead * a.rowBytes) : make_uint4(0, 0, 0, 0);
    if (Cached<KIND>::CODED) c.pairs[i] = held ? fromParams[ahead * a.groups] : 0;
  }
}

/** Puts it as f32 into shared memory; 0 where the cache has nothing. */
template <CacheKind KIND, int HEAD>
DEVICE void putTile(const ManyCarrying<KIND, HEAD>& c, float* tile) {
  typedef ManyCarrying<KIND, HEAD> Carrying;
  float* const to = tile + c.position * (HEAD + 4) + c.chunk * Carrying::VALUES;
#pragma unroll
  for (int i = 0; i < Carrying::COUNT; ++i) {
    float v[Carrying::VALUES];
    decodeCached<KIND>(c.bytes[i], v);
    if (Cached<KIND>::CODED) {
      const float lo = halfToFloat(static_cast<u16>(c.pairs[i])), step = halfToFloat(static_cast<u16>(c.pairs[i] >> 16));
#pragma unroll
      for (int j = 0; j < Carrying::VALUES; ++j) v[j] = fmaf(step, v[j], lo);
    }
#pragma unroll
    for (int j = 0; j < Carrying::VALUES; j += 4)
      *reinterpret_cast<float4*>(to + i * Carrying::ADVANCE * (HEAD + 4) + j) = make_float4(v[j], v[j + 1], v[j + 2], v[j + 3]);
  }
}

/** The tile's queries of a head in shared memory, 0 past the last row and dimension. */
template <int HEAD>
DEVICE void putQueries(const float* rows, int stride, int count, int headSize, float* queries) {
  // Whole quads are aligned in the slot too.
  const bool quads = headSize % 4 == 0;
#pragma unroll 8
  for (int n = 0; n < MANY_QUERIES * HEAD / 4 / MANY_THREADS; ++n) {
    const int i = n * MANY_THREADS + threadIdx.x, row = i / (HEAD / 4), d = i % (HEAD / 4) * 4;
    const float* const from = rows + static_cast<u64>(row) * stride + d;
    float4 v = make_float4(0, 0, 0, 0);
    if (row < count && d < headSize) {
      if (quads) {
        v = *reinterpret_cast<const float4*>(from);
      } else {
        v.x = from[0];
        if (d + 1 < headSize) v.y = from[1];
        if (d + 2 < headSize) v.z = from[2];
        if (d + 3 < headSize) v.w = from[3];
      }
    }
    *reinterpret_cast<float4*>(queries + row * (HEAD + 4) + d) = v;
  }
}

/** Products of a thread's queries and keys, from the first of each on. */
template <int HEAD>
DEVICE void scoreTile(const float* queries, const float* keys, float (&scores)[4][8]) {
#pragma unroll
  for (int r = 0; r < 4; ++r)
#pragma unroll
    for (int p = 0; p < 8; ++p) scores[r][p] = 0;
#pragma unroll 4
  for (int d = 0; d < HEAD; d += 4) {
    float4 q[4];
#pragma unroll
    for (int r = 0; r < 4; ++r) q[r] = *reinterpret_cast<const float4*>(queries + 4 * r * (HEAD + 4) + d);
#pragma unroll
    for (int p = 0; p < 8; ++p) {
      const float4 k = *reinterpret_cast<const float4*>(keys + 8 * p * (HEAD + 4) + d);
#pragma unroll
      for (int r = 0; r < 4; ++r) scores[r][p] = fmaf(q[r].x, k.x, scores[r][p]);
#pragma unroll
      for (int r = 0; r < 4; ++r) scores[r][p] = fmaf(q[r].y, k.y, scores[r][p]);
#pragma unroll
      for (int r = 0; r < 4; ++r) scores[r][p] = fmaf(q[r].z, k.z, scores[r][p]);
#pragma unroll
      for (int r = 0; r < 4; ++r) scores[r][p] = fmaf(q[r].w, k.w, scores[r][p]);
    }
  }
}

/** Adds weighted values. MASKED: those that a query does not see count as nothing, even where they are not a number. */
template <int HEAD, bool MASKED>
DEVICE void mixTile(const float* weights, const float* values, float (&mix)[4][HEAD / 8]) {
#pragma unroll 2
  for (int p = 0; p < MANY_POSITIONS; p += 4) {
    float w[4][4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const float4 quad = *reinterpret_cast<const float4*>(weights + 4 * r * WEIGHT_STRIDE + p);
      w[r][0] = quad.x, w[r][1] = quad.y, w[r][2] = quad.z, w[r][3] = quad.w;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int k = 0; k < HEAD / 32; ++k) {
        const float4 v = *reinterpret_cast<const float4*>(values + (p + i) * (HEAD + 4) + 32 * k);
#pragma unroll
        for (int r = 0; r < 4; ++r) {
          if (MASKED && w[r][i] < 0) continue;
          mix[r][4 * k] = fmaf(w[r][i], v.x, mix[r][4 * k]);
          mix[r][4 * k + 1] = fmaf(w[r][i], v.y, mix[r][4 * k + 1]);
          mix[r][4 * k + 2] = fmaf(w[r][i], v.z, mix[r][4 * k + 2]);
          mix[r][4 * k + 3] = fmaf(w[r][i], v.w, mix[r][4 * k + 3]);
        }
      }
  }
}

/** The eight lanes that share a query differ in bits 1 to 3. */
DEVICE float maxColumns(float v) {
  for (int i = 2; i < 16; i <<= 1) v = fmaxf(v, __shfl_xor_sync(FULL, v, i));
  return v;
}
DEVICE float sumColumns(float v) {
  for (int i = 2; i < 16; i <<= 1) v += __shfl_xor_sync(FULL, v, i);
  return v;
}

/**
 * Scores to weights, relative to the largest score so far; what was mixed before is scaled to it. The query sees the tile's positions
 * from `low` up to `high`. Where a window begins within a tile that scales once more than docs/numerics.md counts; but expf is within
 * 2^-22, so that four are as exact as each that it counts.
 */
template <int HEAD>
DEVICE void weighRow(float (&scores)[8], float scale, int low, int high, int column, float* weights, float& highest, float& weight,
                     float (&mix)[HEAD / 8]) {
  float most = -INFINITE;
#pragma unroll
  for (int p = 0; p < 8; ++p) {
    const int at = 8 * p + column;
    scores[p] *= scale;
    if (at >= low && at <= high) most = fmaxf(most, scores[p]);
  }
  const float next = fmaxf(highest, maxColumns(most));
  // Before the first position nothing is held, and a NaN shows in the weights.
  const float factor = highest == next ? 1.0f : expf(highest - next);
  highest = next;
  float sum = 0;
#pragma unroll
  for (int p = 0; p < 8; ++p) {
    const int at = 8 * p + column;
    const bool seen = at >= low && at <= high;
    const float w = expf(scores[p] - next);
    if (seen) sum += w;
    weights[at] = seen ? w : UNSEEN;
  }
  weight = fmaf(weight, factor, sum);
#pragma unroll
  for (int i = 0; i < HEAD / 8; ++i) mix[i] *= factor;
}

/** HEAD: 64 or 128, at least the head's size. */
template <CacheKind KIND, int HEAD>
DEVICE void attendMany(const ManyArgs& a) {
  waitForInputs();
  SHARED_BYTES(memory);
  float* const queries = reinterpret_cast<float*>(memory);
  /** Keys, then values of the same positions. */
  float* const tile = queries + MANY_QUERIES * (HEAD + 4);
  float* const weights = tile + MANY_POSITIONS * (HEAD + 4);
  const int head = blockIdx.x, turn = blockIdx.y, tiles = gridDim.y, size = a.headSize, rows = a.state->rows;
  const int firstRow = (turn < a.heavyTiles ? tiles - 1 - turn : turn - a.heavyTiles) * MANY_QUERIES;
  const int lastRow = min(firstRow + MANY_QUERIES, rows) - 1;
  const int begin = placeOfRow<false>(a.state, firstRow).position, last = placeOfRow<false>(a.state, lastRow).position;
  const int window = a.window > 0 ? a.window : 1 << 30, from = max(0, begin - window + 1);
  const u64 plane = static_cast<u64>(head / a.sharing) * a.capacity;
  const ManyPlace place = placeOfLane();
  const int own = warpOf() * 16 + place.query;
  // Other warps only carry keys and values.
  const bool works = firstRow + warpOf() * 16 <= lastRow;
  float highest[4], weight[4], mix[4][HEAD / 8];
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    highest[r] = -INFINITE;
    weight[r] = 0;
#pragma unroll
    for (int i = 0; i < HEAD / 8; ++i) mix[r][i] = 0;
  }
  // What is needed next is on its way from the cache while the tile before it is computed with.
  ManyCarrying<KIND, HEAD> carried;
  beginCarrying(carried);
  takeTile<KIND, HEAD>(a, a.keys, a.keyParams, plane + from, last + 1 - from, carried);
  putQueries<HEAD>(a.query + static_cast<u64>(firstRow) * a.strideQuery + head * size, a.strideQuery, lastRow + 1 - firstRow, size,
                   queries);
  for (int first = from; first <= last; first += MANY_POSITIONS) {
    __syncthreads();
    putTile<KIND, HEAD>(carried, tile);
    __syncthreads();
    takeTile<KIND, HEAD>(a, a.values, a.valueParams, plane + first, last + 1 - first, carried);
    if (works) {
      float scores[4][8];
      scoreTile<HEAD>(queries + own * (HEAD + 4), tile + place.column * (HEAD + 4), scores);
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const int high = begin + own + 4 * r - first;
        weighRow<HEAD>(scores[r], a.scale, high - window + 1, high, place.column,
                       weights + (own + 4 * r) * WEIGHT_STRIDE, highest[r], weight[r], mix[r]);
      }
    }
    __syncthreads();
    putTile<KIND, HEAD>(carried, tile);
    __syncthreads();
    takeTile<KIND, HEAD>(a, a.keys, a.keyParams, plane + first + MANY_POSITIONS, last + 1 - first - MANY_POSITIONS, carried);
    if (works) {
      const bool whole = first + MANY_POSITIONS - 1 <= begin && first > last - window;
      const float* const ownWeights = weights + own * WEIGHT_STRIDE;
      if (whole) mixTile<HEAD, false>(ownWeights, tile + 4 * place.column, mix);
      else mixTile<HEAD, true>(ownWeights, tile + 4 * place.column, mix);
    }
  }
  if (!works) return;
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const float share = __fdiv_rn(1.0f, sumColumns(weight[r]));
    const int row = firstRow + own + 4 * r;
    if (row > lastRow) continue;
    float* const out = a.out + static_cast<u64>(row) * a.strideOut + head * size;
#pragma unroll
    for (int k = 0; k < HEAD / 32; ++k) {
      const int d = 32 * k + 4 * place.column;
      float v[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) v[i] = mix[r][4 * k + i] * share;
      if (size % 4 == 0) {
        if (d < size) *reinterpret_cast<float4*>(out + d) = make_float4(v[0], v[1], v[2], v[3]);
      } else {
#pragma unroll
        for (int i = 0; i < 4; ++i)
          if (d + i < size) out[d + i] = v[i];
      }
    }
  }
}

KERNEL_OF(attention_many64_f32, ManyArgs, MANY_THREADS, 2) { attendMany<CACHE_F32, 64>(args); }
KERNEL_OF(attention_many64_f16, ManyArgs, MANY_THREADS, 2) { attendMany<CACHE_F16, 64>(args); }
KERNEL_OF(attention_many64_int8, ManyArgs, MANY_THREADS, 2) { attendMany<CACHE_INT8, 64>(args); }
KERNEL_OF(attention_many64_int4, ManyArgs, MANY_THREADS, 2) { attendMany<CACHE_INT4, 64>(args); }
KERNEL_OF(attention_many128_f32, ManyArgs, MANY_THREADS, 2) { attendMany<CACHE_F32, 128>(args); }
KERNEL_OF(attention_many128_f16, ManyArgs, MANY_THREADS, 2) { attendMany<CACHE_F16, 128>(args); }
KERNEL_OF(attention_many128_int8, ManyArgs, MANY_THREADS, 2) { attendMany<CACHE_INT8, 128>(args); }
KERNEL_OF(attention_many128_int4, ManyArgs, MANY_THREADS, 2) { attendMany<CACHE_INT4, 128>(args); }
