// W(1+1) times one row of codes, what decoding does. Blocks of 16 warps, one on a multiprocessor, share the tiles of a launch; the
// warps of a block share a tile's columns, as many as there are warps to spare.
#include "w11-bits.cuh"

#define ONE_WARPS 16
#define ONE_THREADS (32 * ONE_WARPS)

/** Steps that a warp has under way, in shared memory. */
#define STEPS_AHEAD 3

/** How the warps of a block share its items: tiles, or pairs of a gate's tile and the tile of what it gates. */
struct Share {
  /** 2^shift warps share an item. */
  int shift;
  /** Steps of a tile, those of an item that are a warp's, and how often a block has items. */
  int steps, each, rounds;
};

/** Tiles of an item. */
DEVICE int partsOf(const W11Args& a) { return a.gated ? 2 : 1; }
/** Items that a block has at once. */
DEVICE int atOnceOf(const Share& s) { return ONE_WARPS >> s.shift; }

template <int G>
DEVICE Share shareOf(const W11Args& a) {
  const int units = (a.width + UNIT - 1) / UNIT, blocks = gridDim.x;
  const int items = a.gated ? a.tileEnd[0] : a.tileEnd[MOST_WEIGHTS - 1], most = (items + blocks - 1) / blocks;
  Share s;
  // At least two warps share an item.
  s.shift = most > 4 ? 1 : most > 2 ? 2 : most > 1 ? 3 : 4;
  s.steps = (units + BitSteps<G>::UNITS - 1) / BitSteps<G>::UNITS;
  s.each = (s.steps * partsOf(a) + (1 << s.shift) - 1) >> s.shift;
  s.rounds = ((most << s.shift) + ONE_WARPS - 1) / ONE_WARPS;
  return s;
}

/** The item that a warp or a finishing thread has in a round, or none (-1). Neighbours of a block are apart by all blocks. */
DEVICE int itemOf(const W11Args& a, const Share& s, int round, int group) {
  const int item = blockIdx.x + (round * atOnceOf(s) + group) * static_cast<int>(gridDim.x);
  return item < (a.gated ? a.tileEnd[0] : a.tileEnd[MOST_WEIGHTS - 1]) ? item : -1;
}

DEVICE int tileOf(const W11Args& a, int item, int part) { return part ? a.tileEnd[0] + item : item; }

/** The next step that a warp copies, of all its items one after the other. */
struct Cursor {
  int round, n;
  /** The part of an item that `tile` is of; -1 before the first. */
  int part;
  BitTile tile;
};

/** The n-th step of a warp in an item, the second tile's behind the first's. */
DEVICE int flatStep(const Share& s, int n) { return (warpOf() & ((1 << s.shift) - 1)) + (n << s.shift); }

template <int G, bool OFFSETS>
DEVICE StepSlot<G, OFFSETS> slotOf(char* ring, int slot) {
  return {ring + (slot * ONE_WARPS + warpOf()) * StepSlot<G, OFFSETS>::BYTES};
}

/** Copies the cursor's step, if it is there, and moves on. A group of copies a step, also where none is left. */
template <int G, bool OFFSETS>
DEVICE void copyNext(const StepSlot<G, OFFSETS>& to, Cursor& at, const W11Args& a, const Share& s) {
  const int item = itemOf(a, s, at.round, warpOf() >> s.shift), flat = flatStep(s, at.n), units = (a.width + UNIT - 1) / UNIT;
  if (item >= 0 && flat < s.steps * partsOf(a)) {
    const int part = flat >= s.steps ? 1 : 0;
    if (part != at.part) at.tile = placeTile<G, OFFSETS>(choose(a, tileOf(a, item, part)), units);
    at.part = part;
    copyStep<G, OFFSETS>(to, at.tile, part ? flat - s.steps : flat, units);
  }
  commitCopies();
  if (++at.n < s.each) return;
  at.n = 0;
  at.part = -1;
  ++at.round;
}

/** What the thread that finishes a row of an item needs besides the sums. */
struct Ends {
  float rowSums[2];
  float before;
};

/** Rows of an item that this thread finishes: its group of warps, and the row of the tile. */
DEVICE int finishedGroup() { return threadIdx.x >> 4; }
DEVICE int finishedRow() { return threadIdx.x & 15; }

DEVICE void loadRowSums(Ends& ends, const W11Args& a, const Share& s, int round) {
  const int item = finishedGroup() < atOnceOf(s) ? itemOf(a, s, round, finishedGroup()) : -1;
  if (item < 0) return;
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    if (part == partsOf(a)) break;
    const Chosen c = choose(a, tileOf(a, item, part));
    const int row = c.tile * TILE_ROWS + finishedRow();
    if (row < c.rows) ends.rowSums[part] = __ldg(c.rowSums + row);
  }
}

DEVICE void loadBefore(Ends& ends, const W11Args& a, const Share& s, int round) {
  const int item = finishedGroup() < atOnceOf(s) ? itemOf(a, s, round, finishedGroup()) : -1;
  if (item < 0) return;
  const Chosen c = choose(a, item);
  const int row = c.tile * TILE_ROWS + finishedRow();
  if (c.sum && row < c.rows) ends.before = c.sum[row];
}

#define MOST_PARTS 2

/** Sums of the warps that share an item, then y = step * sum + lo * R of its rows, written and added where they belong. */
DEVICE void finishItems(const W11Args& a, const Share& s, int round, const float2& params, const Ends& ends, const float* partial) {
  const int group = finishedGroup(), item = group < atOnceOf(s) ? itemOf(a, s, round, group) : -1;
  if (item < 0) return;
  const int active = min(1 << s.shift, s.steps * partsOf(a));
  float y[2] = {0, 0};
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    if (part == partsOf(a)) break;
    const float* const sums = partial + ((group << s.shift) * MOST_PARTS + part) * TILE_ROWS + finishedRow();
    float sum = 0;
#pragma unroll 4
    for (int w = 0; w < active; ++w) sum += sums[w * MOST_PARTS * TILE_ROWS];
    const Chosen c = choose(a, tileOf(a, item, part));
    const int row = c.tile * TILE_ROWS + finishedRow();
    if (row >= c.rows) return;
    y[part] = params.y * sum + params.x * ends.rowSums[part];
    c.out[row] = y[part];
    if (part == 0 && c.sum) c.sum[row] = ends.before + y[0];
  }
  if (a.gated) a.gated[item * TILE_ROWS + finishedRow()] = gated(y[0], y[1]);
}

/** What the next launch multiplies goes towards L2 meanwhile, pieces of this many bytes by the lanes of a warp. */
#define PREFETCH_BYTES 2048

/** What goes on before the row is there: weights are no other kernel's results. */
struct Begun {
  Share share;
  Cursor cursor;
  Ends ends;
};

template <int G, bool OFFSETS>
DEVICE Begun begin(const W11Args& a, char* ring) {
  Begun b;
  b.share = shareOf<G>(a);
  b.cursor.round = b.cursor.n = 0;
  b.cursor.part = -1;
#pragma unroll 1
  for (int i = 0; i < STEPS_AHEAD; ++i) copyNext(slotOf<G, OFFSETS>(ring, i), b.cursor, a, b.share);
  loadRowSums(b.ends, a, b.share, 0);
  if (warpOf() == ONE_WARPS - 1)
    for (int at = (blockIdx.x * 32 + laneOf()) * PREFETCH_BYTES; at < a.nextBytes; at += gridDim.x * 32 * PREFETCH_BYTES)
      prefetchBytes(a.next + at, min(PREFETCH_BYTES, a.nextBytes - at));
  return b;
}

/** All that a block multiplies; planes and params are in shared memory. */
template <int G, bool OFFSETS>
DEVICE void multiplyOne(const W11Args& a, Begun& begun, char* ring, const u32* planes, const float2& params) {
  SHARED(float, partial, 2 * ONE_WARPS * MOST_PARTS * TILE_ROWS);
  const Share& s = begun.share;
  const int units = (a.width + UNIT - 1) / UNIT, lane = laneOf(), warp = warpOf();
  int slot = 0;
#pragma unroll 1
  for (int round = 0; round < s.rounds; ++round) {
    const bool exists = itemOf(a, s, round, warp >> s.shift) >= 0;
    float acc[MOST_PARTS][2] = {};
#pragma unroll 1
    for (int n = 0; n < s.each; ++n) {
      const int flat = flatStep(s, n);
      const bool second = flat >= s.steps;
      const StepSlot<G, OFFSETS> place = slotOf<G, OFFSETS>(ring, slot);
      waitForCopies<STEPS_AHEAD - 1>();
      if (exists && flat < s.steps * partsOf(a)) {
        const int step = second ? flat - s.steps : flat;
        float sums[2] = {0, 0};
        multiplyStep<G, OFFSETS>(sums, takeStep(place, isWhole<G>(step, units)), planes, step);
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          acc[0][r] += second ? 0.0f : sums[r];
          acc[1][r] += second ? sums[r] : 0.0f;
        }
      }
      // Into the place of what was just used.
      copyNext(place, begun.cursor, a, s);
      slot = slot + 1 == STEPS_AHEAD ? 0 : slot + 1;
    }
    // Two sets of sums: one is filled while the other may still be read.
    float* const sums = partial + (round & 1) * ONE_WARPS * MOST_PARTS * TILE_ROWS;
#pragma unroll
    for (int part = 0; part < MOST_PARTS; ++part) {
      if (part == partsOf(a)) break;
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float sum = acc[part][r] * laneScale();
        sum += __shfl_xor_sync(FULL, sum, 1);
        sum += __shfl_xor_sync(FULL, sum, 2);
        if ((lane & 3) == 0) sums[(warp * MOST_PARTS + part) * TILE_ROWS + (lane >> 2) + 8 * r] = sum;
      }
    }
    __syncthreads();
    finishItems(a, s, round, params, begun.ends, sums);
    if (round + 1 < s.rounds) {
      loadRowSums(begun.ends, a, s, round + 1);
      loadBefore(begun.ends, a, s, round + 1);
    }
  }
}

struct W11RowArgs {
  W11Args product;
  RowArgs row;
};

/**
 * One row: each block makes the row's codes for itself, norm and all, which takes less time than a launch of its own. The
 * last block, which has the fewest tiles, also writes what it made where the plan says.
 */
template <int G, bool OFFSETS>
DEVICE void multiplyRow(const W11RowArgs& args) {
  const W11Args& a = args.product;
  const RowArgs& r = args.row;
  SHARED_BYTES(ring);
  SHARED(RowShared, shared, 1);
  Begun begun = begin<G, OFFSETS>(a, ring);
  NormWeight weight;
  loadNormWeight(weight, r);
  waitForInputs();
  loadBefore(begun.ends, a, begun.share, 0);
  u32* const planes = reinterpret_cast<u32*>(ring + STEPS_AHEAD * ONE_WARPS * StepSlot<G, OFFSETS>::BYTES);
  float* const v = reinterpret_cast<float*>(planes + paddedUnits(r.width) * UNIT_PLANES);
  const bool writes = blockIdx.x == gridDim.x - 1;
  const Extremes extremes = makeRow(r, 0, v, *shared, weight, writes);
  const float2 range = rangeOf(extremes, r, *shared);
  const UnitRange all = unitsOfPart(r.width, 0, 1);
  quantizeRow(v, range, r, all, planes);
  padPlanes(planes, r.width);
  SHARED(float2, params, 1);
  if (threadIdx.x == 0) *params = range;
  __syncthreads();
  multiplyOne<G, OFFSETS>(a, begun, ring, planes, *params);
  if (writes) writeCodes(planes, *params, r, 0, all);
}

/** One row whose planes are there already. */
template <int G, bool OFFSETS>
DEVICE void multiplyPlanes(const W11Args& a) {
  SHARED_BYTES(ring);
  Begun begun = begin<G, OFFSETS>(a, ring);
  waitForInputs();
  loadBefore(begun.ends, a, begun.share, 0);
  u32* const planes = reinterpret_cast<u32*>(ring + STEPS_AHEAD * ONE_WARPS * StepSlot<G, OFFSETS>::BYTES);
  const int words = (a.width + UNIT - 1) / UNIT * (UNIT_PLANES / 4);
  for (int i = threadIdx.x; i < words; i += ONE_THREADS)
    reinterpret_cast<uint4*>(planes)[i] = reinterpret_cast<const uint4*>(a.codes)[i];
  padPlanes(planes, a.width);
  SHARED(float2, params, 1);
  if (threadIdx.x == 0) *params = make_float2(a.params[0], a.params[1]);
  __syncthreads();
  multiplyOne<G, OFFSETS>(a, begun, ring, planes, *params);
}

#define ONE_KERNELS(G, suffix, OFFSETS)                                                                          \
  KERNEL_OF(w11_row_g##G##suffix, W11RowArgs, ONE_THREADS, 2) { multiplyRow<G, OFFSETS>(args); }                   \
  KERNEL_OF(w11_one_g##G##suffix, W11Args, ONE_THREADS, 1) { multiplyPlanes<G, OFFSETS>(args); }

ONE_KERNELS(32, , false)
ONE_KERNELS(32, o, true)
ONE_KERNELS(64, , false)
ONE_KERNELS(64, o, true)
ONE_KERNELS(128, , false)
ONE_KERNELS(128, o, true)
ONE_KERNELS(256, , false)
ONE_KERNELS(256, o, true)
