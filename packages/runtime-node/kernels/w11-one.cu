// W(1+1) times one row of codes, what decoding does. Blocks of 16 warps, one on a multiprocessor, share the tiles of a launch; the
// warps of a block share a tile's units, as many as there are warps to spare.
#include "row-narrow.cuh"
#include "w11-bits.cuh"

#define ONE_WARPS 16
#define ONE_THREADS (32 * ONE_WARPS)

/** Units that a warp has under way, in shared memory. Hopper has so much that one such block alone is on a multiprocessor. */
#define UNITS_AHEAD(G) (((G) == 32 ? 2 : 4) * (HAS_OVERLAP ? 2 : 1))

/** Tiles of an item: an item is a tile, or a gate's tile and the tile of what it gates. */
DEVICE int partsOf(const W11Args& a) { return a.gated ? 2 : 1; }
DEVICE int unitsOf(const W11Args& a) { return static_cast<u32>(a.width + UNIT - 1) / UNIT; }
DEVICE int itemsOf(const W11Args& a) { return a.gated ? a.tileEnd[0] : a.tileEnd[MOST_WEIGHTS - 1]; }

/** Items that a block has at once: 2^shift warps share each. */
DEVICE int atOnceOf(const W11Args& a) { return ONE_WARPS >> a.shift; }

/** The item that a group of warps or a finishing thread has in a round, or none (-1). Neighbours are apart by all blocks. */
DEVICE int itemOf(const W11Args& a, int round, int group) {
  const int item = blockIdx.x + (round * atOnceOf(a) + group) * static_cast<int>(gridDim.x);
  return item < itemsOf(a) ? item : -1;
}

DEVICE int tileOf(const W11Args& a, int item, int part) { return part ? a.tileEnd[0] + item : item; }

/** A warp's first unit of a part of an item: its turn comes as if the parts' units were in one row. */
DEVICE int firstUnit(const W11Args& a, int part) { return (warpOf() - part * unitsOf(a)) & ((1 << a.shift) - 1); }

/** The next unit that a warp copies, of all its items one after the other. */
struct Cursor {
  int round, part, unit;
  LaneTile tile;
};

/** Goes to the first unit of the cursor's part, or of one after it; with none left the unit is -1. */
template <int G, bool OFFSETS>
DEVICE void enterPart(Cursor& at, const W11Args& a) {
  for (;;) {
    const int item = itemOf(a, at.round, warpOf() >> a.shift);
    at.unit = item < 0 ? -1 : firstUnit(a, at.part);
    if (item >= 0 && at.unit < unitsOf(a)) at.tile = placeTile<G, OFFSETS>(choose(a, tileOf(a, item, at.part)), unitsOf(a));
    if (item < 0 || at.unit < unitsOf(a)) return;
    at.part = at.part + 1 < partsOf(a) ? at.part + 1 : 0;
    if (at.part == 0) ++at.round;
  }
}

/** Copies the cursor's unit, if there is one, and moves on. A group of copies a unit, also where none is left. */
template <int G, bool OFFSETS>
DEVICE void copyNext(const UnitSlot<G, OFFSETS>& to, Cursor& at, const W11Args& a) {
  if (at.unit >= 0) {
    copyUnit(to, at.tile, at.unit);
    at.unit += 1 << a.shift;
    if (at.unit >= unitsOf(a)) {
      at.part = at.part + 1 < partsOf(a) ? at.part + 1 : 0;
      if (at.part == 0) ++at.round;
      enterPart<G, OFFSETS>(at, a);
    }
  }
  commitCopies();
}

/** Shared memory of the units under way of all warps. */
template <int G, bool OFFSETS>
struct Ring {
  static constexpr int SLOT = ONE_WARPS * UnitSlot<G, OFFSETS>::BYTES, BYTES = UNITS_AHEAD(G) * SLOT;
};

/** Rows of an item that this thread finishes: its group of warps, and the row of the tile. */
DEVICE int finishedGroup() { return threadIdx.x >> 4; }
DEVICE int finishedRow() { return threadIdx.x & 15; }
DEVICE int finishedItem(const W11Args& a, int round) {
  return finishedGroup() < atOnceOf(a) ? itemOf(a, round, finishedGroup()) : -1;
}

/** What the thread that finishes a row of an item needs besides the sums. */
struct Ends {
  /** The row of the weight (a gate's, where it is one), in the lower bits; or -1. */
  int place;
  float rowSums[2];
  float before;

  DEVICE_MEMBER int row() const { return place & 0xfffffff; }
  DEVICE_MEMBER int weight() const { return place >> 28; }
};

/** All of it that is no other kernel's result. */
DEVICE Ends beginEnds(const W11Args& a, int round) {
  Ends ends = {-1, {0, 0}, 0};
  const int item = finishedItem(a, round);
  if (item < 0) return ends;
  const int weight = a.gated ? 0 : (item >= a.tileEnd[0]) + (item >= a.tileEnd[1]) + (item >= a.tileEnd[2]);
  const int row = (item - (weight > 0 ? a.tileEnd[weight - 1] : 0)) * TILE_ROWS + finishedRow();
  if (row >= a.rows[weight]) return ends;
  ends.place = weight << 28 | row;
  ends.rowSums[0] = __ldg(a.rowSums[weight] + row);
  if (a.gated) ends.rowSums[1] = __ldg(a.rowSums[1] + row);
  return ends;
}

DEVICE void loadBefore(Ends& ends, const W11Args& a) {
  if (ends.place >= 0 && a.sum[ends.weight()]) ends.before = a.sum[ends.weight()][ends.row()];
}

/** Of a round, [warp][part][row of the tile]: in bytes, and of a warp and a part of it. */
#define PART_BYTES (4 * TILE_ROWS)
#define WARP_BYTES (2 * PART_BYTES)
#define ROUND_BYTES (ONE_WARPS * WARP_BYTES)

/** Of the warps that share an item. */
template <int COUNT>
DEVICE float addWarps(SharedAt at) {
  if constexpr (COUNT > 1) return addWarps<COUNT / 2>(at) + addWarps<COUNT / 2>(at + COUNT / 2 * WARP_BYTES);
  float sum;
  loadShared(sum, at);
  return sum;
}
DEVICE float addWarps(SharedAt at, int shift) {
  return shift == 4 ? addWarps<16>(at) : shift == 3 ? addWarps<8>(at) : shift == 2 ? addWarps<4>(at) : addWarps<2>(at);
}

/** Sums of the warps that share an item, then y = step * sum + lo * R of its rows, written and added where they belong. */
DEVICE void finishItems(const W11Args& a, const float2& params, const Ends& ends, SharedAt sums) {
  if (ends.place < 0) return;
  float* const sum = a.sum[ends.weight()];
  float y[2] = {0, 0};
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    if (part == partsOf(a)) break;
    y[part] = params.y * addWarps(sums + part * PART_BYTES, a.shift) + params.x * ends.rowSums[part];
    a.out[part == 0 ? ends.weight() : 1][ends.row()] = y[part];
  }
  if (sum) sum[ends.row()] = ends.before + y[0];
  if (a.gated) a.gated[ends.row()] = gated(y[0], y[1]);
}

/** What goes on before the row is there: weights are no other kernel's results. */
struct Begun {
  Cursor cursor;
  Ends ends;
};

template <int G, bool OFFSETS>
DEVICE Begun begin(const W11Args& a, char* ring) {
  const SharedAt words = wordsOfLane(ring + warpOf() * UnitSlot<G, OFFSETS>::BYTES);
  Begun b;
  b.cursor.round = b.cursor.part = 0;
  enterPart<G, OFFSETS>(b.cursor, a);
#pragma unroll 1
  for (int i = 0; i < UNITS_AHEAD(G); ++i) copyNext(UnitSlot<G, OFFSETS>{words + i * Ring<G, OFFSETS>::SLOT}, b.cursor, a);
  b.ends = beginEnds(a, 0);
  return b;
}

/** Where a thread works, of what does not depend on the row: behind the row every instruction counts. */
struct ThreadPlace {
  /** The item of the warp's group, or one past all; and the warp's first unit of it. */
  int item, unit;
  /** A lane's words of a unit in the ring's first slot; of planes; of the sums that it leaves, and of those that it ends. */
  SharedAt words, planes, left, sums;
};

template <int G, bool OFFSETS>
DEVICE ThreadPlace placeThread(const W11Args& a, const char* ring) {
  SHARED(float, partial, 2 * ROUND_BYTES / 4);
  ThreadPlace p;
  p.item = forgotten(blockIdx.x + (warpOf() >> a.shift) * static_cast<int>(gridDim.x));
  p.unit = forgotten(firstUnit(a, 0));
  p.words = wordsOfLane(ring + warpOf() * UnitSlot<G, OFFSETS>::BYTES);
  p.planes = sharedAt(ring + Ring<G, OFFSETS>::BYTES + 4 * planeOfLane());
  p.left = sharedAt(partial + warpOf() * 2 * TILE_ROWS + rowOfLane());
  p.sums = sharedAt(partial + (finishedGroup() << a.shift) * 2 * TILE_ROWS + finishedRow());
  return p;
}

/** All that a block multiplies; planes and params are in shared memory. */
template <int G, bool OFFSETS>
DEVICE void multiplyOne(const W11Args& a, Begun& begun, ThreadPlace& mine, const float2& params) {
  typedef Ring<G, OFFSETS> R;
  const int units = unitsOf(a), apart = atOnceOf(a) * static_cast<int>(gridDim.x);
  int slot = 0;
#pragma unroll 1
  for (int round = 0;; ++round) {
    // Two sets of sums: one is filled while the other may still be read.
    const int set = (round & 1) * ROUND_BYTES;
    if (mine.item < itemsOf(a))
#pragma unroll 1
      for (int part = 0; part < partsOf(a); ++part) {
        float acc = 0;
#pragma unroll 1
        for (int unit = part == 0 ? mine.unit : firstUnit(a, 1); unit < units; unit += 1 << a.shift) {
          const UnitSlot<G, OFFSETS> place{mine.words + slot};
          u32 plane;
          loadShared(plane, mine.planes + unit * (4 * UNIT_PLANES));
          waitForCopies<UNITS_AHEAD(G) - 1>();
          acc = multiplyUnit<G, OFFSETS>(acc, takeUnit(place), plane);
          // Into the place of what was just used.
          copyNext(place, begun.cursor, a);
          slot = slot + R::SLOT == R::BYTES ? 0 : slot + R::SLOT;
        }
        acc *= laneScale();
        acc += __shfl_xor_sync(FULL, acc, 1);
        if ((laneOf() & 1) == 0) storeShared(mine.left + set + part * PART_BYTES, acc);
      }
    __syncthreads();
    finishItems(a, params, begun.ends, mine.sums + set);
    if (itemOf(a, round + 1, 0) < 0) return;
    mine.item += apart;
    begun.ends = beginEnds(a, round + 1);
    loadBefore(begun.ends, a);
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
  u32* const planes = reinterpret_cast<u32*>(ring + Ring<G, OFFSETS>::BYTES);
  Begun begun = begin<G, OFFSETS>(a, ring);
  float* const v = reinterpret_cast<float*>(planes + unitsOf(a) * UNIT_PLANES);
  float* const other = v + (r.width + ROW_ALIGN - 1) / ROW_ALIGN * ROW_ALIGN;
  copyNormWeight(other, r);
  awaitInputs();
  loadBefore(begun.ends, a);
  const bool writes = blockIdx.x == gridDim.x - 1;
  const float2 range = rangeOf(makeRow(r, 0, v, other, *shared, writes), r, *shared);
  quantizeRow(v, range, r, unitsOfPart(r.width, 0, 1), planes);
  ThreadPlace mine = placeThread<G, OFFSETS>(a, ring);
  __syncthreads();
  multiplyOne<G, OFFSETS>(a, begun, mine, range);
  if (writes && r.codes) writeCodes(planes, range, r, 0, unitsOfPart(r.width, 0, 1));
}

/** The same of a row that is coded in registers, a warp UNITS units of it: row-narrow.cuh. */
template <int G, bool OFFSETS, int UNITS>
DEVICE void multiplyNarrow(const W11RowArgs& args) {
  const W11Args& a = args.product;
  const RowArgs& r = args.row;
  SHARED_BYTES(ring);
  SHARED(RowShared, shared, 1);
  u32* const planes = reinterpret_cast<u32*>(ring + Ring<G, OFFSETS>::BYTES);
  Begun begun = begin<G, OFFSETS>(a, ring);
  NarrowRow<UNITS> row = beginNarrow<Groups<G>::LAYOUT, ONE_WARPS, UNITS>(r);
  awaitInputs();
  takeNarrow<ONE_WARPS, UNITS>(row, r);
  loadBefore(begun.ends, a);
  ThreadPlace mine = placeThread<G, OFFSETS>(a, ring);
  const float2 range = codeNarrow<ONE_WARPS, UNITS>(r, row, planes, *shared);
  multiplyOne<G, OFFSETS>(a, begun, mine, range);
}

/** One row whose planes are there already. */
template <int G, bool OFFSETS>
DEVICE void multiplyPlanes(const W11Args& a) {
  SHARED_BYTES(ring);
  SHARED(float2, params, 1);
  Begun begun = begin<G, OFFSETS>(a, ring);
  ThreadPlace mine = placeThread<G, OFFSETS>(a, ring);
  awaitInputs();
  loadBefore(begun.ends, a);
  uint4* const planes = reinterpret_cast<uint4*>(ring + Ring<G, OFFSETS>::BYTES);
  for (int i = threadIdx.x; i < unitsOf(a) * (UNIT_PLANES / 4); i += ONE_THREADS)
    planes[i] = reinterpret_cast<const uint4*>(a.codes)[i];
  if (threadIdx.x == 0) *params = make_float2(a.params[0], a.params[1]);
  __syncthreads();
  beginNext();
  multiplyOne<G, OFFSETS>(a, begun, mine, *params);
}

// Numbers are of the columns that a row has at most.
#define ONE_KERNELS(G, suffix, OFFSETS)                                                                            \
  KERNEL_INDEXED_OF(w11_row_g##G##suffix, W11RowArgs, ONE_THREADS, 2) { multiplyRow<G, OFFSETS>(args); }           \
  KERNEL_INDEXED_OF(w11_row2048_g##G##suffix, W11RowArgs, ONE_THREADS, 2) { multiplyNarrow<G, OFFSETS, 1>(args); } \
  KERNEL_INDEXED_OF(w11_one_g##G##suffix, W11Args, ONE_THREADS, 2) { multiplyPlanes<G, OFFSETS>(args); }
#define WIDER_KERNEL(G, suffix, OFFSETS) \
  KERNEL_INDEXED_OF(w11_row4096_g##G##suffix, W11RowArgs, ONE_THREADS, 2) { multiplyNarrow<G, OFFSETS, 2>(args); }

ONE_KERNELS(32, , false)
ONE_KERNELS(32, o, true)
ONE_KERNELS(64, , false)
ONE_KERNELS(64, o, true)
ONE_KERNELS(128, , false)
ONE_KERNELS(128, o, true)
ONE_KERNELS(256, , false)
ONE_KERNELS(256, o, true)
// Not of groups of 32, which need more registers.
WIDER_KERNEL(64, , false)
WIDER_KERNEL(64, o, true)
WIDER_KERNEL(128, , false)
WIDER_KERNEL(128, o, true)
WIDER_KERNEL(256, , false)
WIDER_KERNEL(256, o, true)
