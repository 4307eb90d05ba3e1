// W(1+1)A4 on int8 tensor cores, many rows of codes: each of a block's eight warps has a tile of weights and all of the block's
// rows of codes. What a block needs of a unit of columns comes to shared memory some units ahead of its use.
#include "w11.cuh"

#define MANY_WARPS 8
#define MANY_THREADS (MANY_WARPS * 32)

/** What a block holds of one unit, in vectors of 16 bytes: codes and plain sums of its rows, weights and levels of its tiles. */
template <int G, bool OFFSETS, int NT>
struct Stage {
  static constexpr int TOKENS = 8 * NT;
  static constexpr int CODES = TOKENS * (UNIT / 16);
  static constexpr int BITS = MANY_WARPS * 32;
  /** Levels of one tile; of a group longer than a unit they come with each of its units. */
  static constexpr int TILE_LEVELS = Groups<G>::IN_UNIT * TILE_ROWS * (OFFSETS ? 8 : 4) / 16;
  static constexpr int LEVELS = MANY_WARPS * TILE_LEVELS;
  static constexpr int SUMS = TOKENS * Groups<G>::IN_UNIT / 4;
  static constexpr int SIZE = CODES + BITS + LEVELS + SUMS;
  /** As many as fit into 48 KiB, at most three. */
  static constexpr int COUNT = 3 * SIZE * 16 <= 48 << 10 ? 3 : 2;
};

/**
 * Levels are applied to integers as they are: as bits of an f32 an integer below 2^23 is that times 2^-149, a subnormal, which
 * fused multiplications take without loss or delay. So factors of sums are given times 2^109, and results are 2^-40 of what they
 * should be, so that nothing overflows or is subnormal: levels are multiples of 2^-24 and below 2^16. Powers of two change no
 * rounding.
 */
#define RESULT_SCALE 0x1p-40f
#define SUM_SCALE 0x1p109f

template <bool OFFSETS>
DEVICE Factors scaledFactorsOf(const Levels<OFFSETS>& l) {
  float alpha[2], mu[2];
  unpackLevels<OFFSETS>(l, alpha, mu);
  const float c0 = mu[0] - alpha[0];
  return {RESULT_SCALE * c0, 0.25f * SUM_SCALE * alpha[0], 0.125f * SUM_SCALE * ((mu[1] - alpha[1]) - c0),
          0.25f * SUM_SCALE * (alpha[1] - alpha[0])};
}

DEVICE float addScaled(float y, const Factors& f, float plain, int s, int m, int both) {
  y = fmaf(f.c0, plain, y);
  y = fmaf(f.c1, __int_as_float(s), y);
  y = fmaf(f.c2, __int_as_float(m), y);
  return fmaf(f.c3, __int_as_float(both), y);
}

/** Operands A of 32 columns, for the sums over s, m and both. */
struct StepMasks {
  u32 s[4], m[4], both[4];
};

DEVICE StepMasks maskStep(const uint4& w, int step) {
  StepMasks masks;
#pragma unroll
  for (int h = 0; h < 2; ++h)
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int at = 2 * h + r;
      masks.s[at] = maskWord(r == 0 ? w.x : w.z, 2 * step + h);
      masks.m[at] = maskWord(r == 0 ? w.y : w.w, 2 * step + h);
      masks.both[at] = masks.s[at] & masks.m[at];
    }
  return masks;
}

/** 32 columns; the first of a group starts its sums. */
DEVICE void multiplyMasked(int (&sums)[3][4], const StepMasks& w, bool starts, u32 b0, u32 b1) {
  const auto multiply = [&](int (&sum)[4], const u32 (&a)[4]) {
    if (starts) multiplyTilesFrom(0, sum, a[0], a[1], a[2], a[3], b0, b1);
    else multiplyTiles(sum, a[0], a[1], a[2], a[3], b0, b1);
  };
  multiply(sums[0], w.s);
  multiply(sums[1], w.m);
  multiply(sums[2], w.both);
}

/** Where a vector of a row's codes lies in a stage: halves of odd rows are exchanged, or reads of rows g and g + 1 share banks. */
DEVICE int placeOfCodes(int token, int vector) { return token * (UNIT / 16) + (vector ^ ((token & 1) << 2)); }

/** What a warp has summed up: results and, of a group longer than a unit, its sums until now. */
template <int G, int NT>
struct ManySums {
  static constexpr int KEPT = Groups<G>::SPAN > 1 ? NT : 1;
  float acc[NT][4];
  int sums[KEPT][3][4];
  float plain[KEPT][2];
};

DEVICE void addSums(float (&acc)[4], const Factors (&f)[2], float left, float right, const int (&sums)[3][4]) {
#pragma unroll
  for (int o = 0; o < 4; ++o)
    acc[o] = addScaled(acc[o], f[o >> 1], o & 1 ? right : left, sums[0][o], sums[1][o], sums[2][o]);
}

/** A warp's products of one unit. `ends`: a group longer than a unit ends with it. */
template <int G, bool OFFSETS, int NT>
DEVICE void multiplyUnit(ManySums<G, NT>& to, const uint4* stage, bool ends) {
  typedef Stage<G, OFFSETS, NT> S;
  constexpr int SPAN = Groups<G>::SPAN, IN_UNIT = Groups<G>::IN_UNIT;
  // Operands A are held for all rows of codes: of a group of 128 those of the unit, else of its halves, one after the other,
  // as there are not registers for more.
  constexpr int PARTS = G == 128 ? 1 : 2, STEPS = 4 / PARTS, GROUPS = IN_UNIT > PARTS ? IN_UNIT / PARTS : 1;
  const int g = laneOf() >> 2, t = laneOf() & 3;
  const uint4* const bits = stage + S::CODES;
  const auto* levels = reinterpret_cast<const Levels<OFFSETS>*>(bits + S::BITS + warpOf() * S::TILE_LEVELS) + g;
  const float* plainSums = reinterpret_cast<const float*>(bits + S::BITS + S::LEVELS) + 2 * t;
  const auto factorsAt = [&](Factors(&factors)[2], int h) {
#pragma unroll
    for (int r = 0; r < 2; ++r) factors[r] = scaledFactorsOf<OFFSETS>(levels[h * TILE_ROWS + 8 * r]);
  };
  const auto plainAt = [&](int h, int n) {
    return *reinterpret_cast<const float2*>(plainSums + h * S::TOKENS + 8 * n);
  };
  // Both halves of row g; those of row 8 n + g lie a constant behind.
  const uint4 *low = stage + placeOfCodes(g, t), *high = stage + placeOfCodes(g, t + 4);
  uint4 w = bits[threadIdx.x];
#pragma unroll 1
  for (int part = 0; part < PARTS; ++part) {
    StepMasks masks[STEPS];
#pragma unroll
    for (int i = 0; i < STEPS; ++i) masks[i] = maskStep(w, i);
    Factors factors[GROUPS][2];
    if (SPAN == 1)
#pragma unroll
      for (int h = 0; h < GROUPS; ++h) factorsAt(factors[h], h);
#pragma unroll
    for (int n = 0; n < NT; ++n) {
      // Keeps the compiler from loading so far ahead that registers run out, and is no instruction.
      if (PARTS == 1) __syncwarp();
      int(&sums)[3][4] = to.sums[SPAN > 1 ? n : 0];
#pragma unroll
      for (int i = 0; i < STEPS; i += 2) {
        const uint4 b = (i == 0 ? low : high)[8 * n * (UNIT / 16)];
#pragma unroll
        for (int k = i; k < i + 2; ++k) {
          const bool starts = SPAN == 1 && k * IN_UNIT % 4 == 0, isEnd = (k + 1) * IN_UNIT % 4 == 0;
          multiplyMasked(sums, masks[k], starts, k == i ? b.x : b.z, k == i ? b.y : b.w);
          if (!isEnd) continue;
          const int h = (k + 1) * IN_UNIT / 4 - 1;
          const float2 plain = plainAt(h, n);
          addSums(to.acc[n], factors[h], plain.x, plain.y, sums);
        }
      }
    }
    // The other half's words and codes in the place of these.
    w = make_uint4(w.x >> 4, w.y >> 4, w.z >> 4, w.w >> 4);
    low = high;
    levels += GROUPS * TILE_ROWS;
    plainSums += GROUPS * S::TOKENS;
  }
  if (SPAN == 1) return;
  levels -= PARTS * TILE_ROWS;
  plainSums -= PARTS * S::TOKENS;
#pragma unroll
  for (int n = 0; n < NT; ++n) {
    const float2 plain = plainAt(0, n);
    to.plain[n][0] += plain.x;
    to.plain[n][1] += plain.y;
  }
  if (!ends) return;
  Factors factors[2];
  factorsAt(factors, 0);
#pragma unroll
  for (int n = 0; n < NT; ++n) {
    addSums(to.acc[n], factors, to.plain[n][0], to.plain[n][1], to.sums[n]);
    to.plain[n][0] = to.plain[n][1] = 0;
#pragma unroll
    for (int i = 0; i < 12; ++i) to.sums[n][i / 4][i % 4] = 0;
  }
}

/** Where a tile's weights and levels begin. */
struct TileSource {
  const uint4* bits;
  const uint4* levels;
};

template <int G, bool OFFSETS, int NT>
DEVICE TileSource sourceOf(const W11Args& a, int tile, int units) {
  constexpr int SPAN = Groups<G>::SPAN;
  const Chosen c = choose(a, tile);
  const u64 first = static_cast<u64>(c.tile) * ((units + SPAN - 1) / SPAN);
  return {c.bits + first * (SPAN * 32),
          reinterpret_cast<const uint4*>(c.levels) + first * Stage<G, OFFSETS, NT>::TILE_LEVELS};
}

/** Copies of a tile's weights and levels, by its warp. */
template <int G, bool OFFSETS, int NT>
DEVICE void fetchWeights(uint4* stage, const TileSource& from, int unit) {
  typedef Stage<G, OFFSETS, NT> S;
  const int lane = laneOf();
  uint4* const bits = stage + S::CODES;
  copyAsync16(bits + threadIdx.x, from.bits + (unit * 32 + lane));
  if (lane >= S::TILE_LEVELS) return;
  copyAsync16(bits + S::BITS + warpOf() * S::TILE_LEVELS + lane,
              from.levels + (unit / Groups<G>::SPAN * S::TILE_LEVELS + lane));
}

/** Copies of codes and their plain sums, these [group][row]. Rows past the last are the last again; nobody writes their results. */
template <int G, bool OFFSETS, int NT>
DEVICE void fetchCodes(uint4* stage, const W11Args& a, int firstToken, int unit, int units) {
  typedef Stage<G, OFFSETS, NT> S;
  constexpr int IN_UNIT = Groups<G>::IN_UNIT, VECTORS = UNIT / 16;
  const u32 thread = forgotten(threadIdx.x);
  // In 32 bits: codes are less than 64 GiB.
  const auto unitOf = [&](u32 token) {
    return static_cast<u32>(min(static_cast<int>(firstToken + token), a.tokens - 1) * units + unit);
  };
#pragma unroll
  for (int i = 0; i < S::CODES; i += MANY_THREADS) {
    const u32 token = (i + thread) / VECTORS, vector = thread % VECTORS;
    copyAsync16(stage + placeOfCodes(token, vector),
                reinterpret_cast<const uint4*>(a.codes) + (unitOf(token) * VECTORS + vector));
  }
  if (thread >= S::TOKENS * IN_UNIT) return;
  const u32 token = thread / IN_UNIT, h = thread % IN_UNIT;
  float* const sums = reinterpret_cast<float*>(stage + S::CODES + S::BITS + S::LEVELS);
  copyAsync4(sums + h * S::TOKENS + token, a.sums + (unitOf(token) * 4 + h));
}

template <int G, bool OFFSETS, int NT>
DEVICE void multiplyMany(const W11Args& a) {
  typedef Stage<G, OFFSETS, NT> S;
  constexpr int AHEAD = S::COUNT - 1;
  SHARED(uint4, stages, S::COUNT * S::SIZE);
  // Blocks that run at the same time take the same weights, which so come from memory once.
  const int firstToken = blockIdx.x * S::TOKENS, tile = blockIdx.y * MANY_WARPS + warpOf();
  const int units = (a.width + UNIT - 1) / UNIT, tiles = a.tileEnd[MOST_WEIGHTS - 1];
  // Of every warp, as registers are few. Warps behind the last tile help to fetch codes.
  SHARED(TileSource, sources, MANY_WARPS);
  const TileSource source = sourceOf<G, OFFSETS, NT>(a, min(tile, tiles - 1), units);
  if (laneOf() == 0) sources[warpOf()] = source;
  for (int unit = 0; unit < min(AHEAD, units); ++unit)
    fetchWeights<G, OFFSETS, NT>(stages + unit * S::SIZE, source, unit);
  waitForInputs();
  // As many commits as there would be with enough units, so that it is the same count that is waited for.
#pragma unroll
  for (int unit = 0; unit < AHEAD; ++unit) {
    if (unit < units) fetchCodes<G, OFFSETS, NT>(stages + unit * S::SIZE, a, firstToken, unit, units);
    commitCopies();
  }
  ManySums<G, NT> sums = {};
  int stage = 0;
  for (int unit = 0; unit < units; ++unit) {
    waitForCopies<AHEAD - 1>();
    // The others' copies are there too, and nobody reads any more what the next ones replace.
    __syncthreads();
    if (unit + AHEAD < units) {
      uint4* const next = stages + (stage == 0 ? AHEAD : stage - 1) * S::SIZE;
      fetchWeights<G, OFFSETS, NT>(next, sources[warpOf()], unit + AHEAD);
      fetchCodes<G, OFFSETS, NT>(next, a, firstToken, unit + AHEAD, units);
    }
    commitCopies();
    if (tile < tiles)
      multiplyUnit<G, OFFSETS, NT>(sums, stages + stage * S::SIZE, unit % 2 == 1 || unit == units - 1);
    stage = stage == AHEAD ? 0 : stage + 1;
  }
  if (tile >= tiles) return;
  // Chosen again: what only the end needs would take registers all the time.
  const Chosen to = choose(a, forgotten(tile));
  const int lane = laneOf(), g = lane >> 2, t = lane & 3;
#pragma unroll
  for (int n = 0; n < NT; ++n)
#pragma unroll
    for (int o = 0; o < 4; ++o)
      finish(to, a, a.params, firstToken + 8 * n + 2 * t + (o & 1), to.tile * TILE_ROWS + g + 8 * (o >> 1),
             sums.acc[n][o] * (1 / RESULT_SCALE));
}

// Names say how many rows of codes a block takes, the group size, and o for offsets.
#define MANY_KERNELS(G, suffix, OFFSETS)                                                                     \
  KERNEL_INDEXED_OF(w11_many32_g##G##suffix, W11Args, MANY_THREADS, 2) { multiplyMany<G, OFFSETS, 4>(args); }

#define MANY_KERNELS64(G, suffix, OFFSETS)                                                                   \
  MANY_KERNELS(G, suffix, OFFSETS)                                                                           \
  KERNEL_INDEXED_OF(w11_many64_g##G##suffix, W11Args, MANY_THREADS, 2) { multiplyMany<G, OFFSETS, 8>(args); }

MANY_KERNELS64(32, , false)
MANY_KERNELS64(32, o, true)
MANY_KERNELS64(64, , false)
MANY_KERNELS64(64, o, true)
MANY_KERNELS64(128, , false)
MANY_KERNELS64(128, o, true)
MANY_KERNELS(256, , false)
MANY_KERNELS(256, o, true)
