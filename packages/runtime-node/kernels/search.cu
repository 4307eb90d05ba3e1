// What the next token is chosen by, found where the logits are: the best, for greedy decoding, some of the best, which hold all that
// sampling with top-k looks at, and sums of softmax weights, by which a token is drawn from all. A candidate is a logit as a key in the
// order of unsigned integers, and below it the place with all bits turned, so that of equal ones the first is the largest; 0 is none.
// What is found may be memory of the host.
#include "common.cuh"

/** Zeros are equal, whatever their signs; what is not a number comes out on top, so that it is seen. */
DEVICE u32 keyOf(float logit) {
  const u32 held = static_cast<u32>(__float_as_int(logit));
  const u32 bits = held == 0x80000000u ? 0u : held;
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0xffffffffu;
  return bits >> 31 != 0 ? ~bits : bits ^ 0x80000000u;
}

DEVICE u64 candidateOf(float logit, int place) {
  return static_cast<u64>(keyOf(logit)) << 32 | ~static_cast<u32>(place);
}

/** As the host reads it. */
DEVICE uint2 pairOf(u64 candidate) { return {static_cast<u32>(candidate >> 32), static_cast<u32>(candidate)}; }

/** What the values of all threads combine to, in every thread; combined with 0 a value stays what it is. @param ofWarp room for one a warp */
template <typename T, typename Combine>
DEVICE T reduceBlock(T value, T* ofWarp, Combine combine) {
  for (int round = 0; round < 2; ++round) {
#pragma unroll
    for (int i = 16; i > 0; i >>= 1) value = combine(value, __shfl_xor_sync(FULL, value, i));
    if (round == 1) break;
    if (laneOf() == 0) ofWarp[warpOf()] = value;
    __syncthreads();
    value = laneOf() < static_cast<int>(blockDim.x >> 5) ? ofWarp[laneOf()] : 0;
  }
  return value;
}

template <typename T>
DEVICE T largerOf(T a, T b) { return a > b ? a : b; }

/** Quads that a thread has under way. */
#define SEARCH_QUADS 8

/** Of a row that begins at whole quads. */
DEVICE u64 bestOfBlock(const float* logits, int width) {
  SHARED(u64, bestOfWarp, 32);
  u32 key = 0;
  int place = -1;
  for (int base = 4 * threadIdx.x; base < width; base += 4 * SEARCH_QUADS * blockDim.x) {
    float4 quads[SEARCH_QUADS];
#pragma unroll
    for (int i = 0; i < SEARCH_QUADS; ++i) {
      const int k = base + 4 * i * blockDim.x;
      if (k < width) quads[i] = *reinterpret_cast<const float4*>(logits + k);
    }
#pragma unroll
    for (int i = 0; i < SEARCH_QUADS; ++i) {
      const int k = base + 4 * i * blockDim.x;
      const float values[4] = {quads[i].x, quads[i].y, quads[i].z, quads[i].w};
#pragma unroll
      for (int n = 0; n < 4; ++n) {
        const u32 other = keyOf(values[n]);
        // The first of equals, as places only grow.
        if (k + n >= width || (place >= 0 && other <= key)) continue;
        key = other;
        place = k + n;
      }
    }
  }
  u64 best = place < 0 ? 0 : static_cast<u64>(key) << 32 | ~static_cast<u32>(place);
  return reduceBlock(best, bestOfWarp, largerOf<u64>);
}

struct BestArgs {
  const float* logits;
  /** Key and turned place of each row's best, in the order of rows; of a run that goes on by itself, at its position in a ring. */
  uint2* found;
  /** Where a run of one row hands its best on to the next, whose position is one further; or null. */
  int* token;
  RunState* state;
  /** Of each row and block; and how many blocks of a row are done, 0 between launches. */
  u64* bests;
  u32* done;
  int width;
  /** Logits that a block looks at, a multiple of 4. */
  int part;
  int stride;
  /** A power of two. */
  int ring;
};

/** The best logit of each row, the first of equals. A block has a part of a row; the last that is done puts them together. */
KERNEL(search_best, BestArgs, 256) {
  waitForInputs();
  SHARED(u32, before, 1);
  const int row = blockIdx.y, start = blockIdx.x * args.part;
  const u64 own = bestOfBlock(args.logits + static_cast<u64>(row) * args.stride + start, min(args.part, args.width - start));
  u64* const bests = args.bests + static_cast<u64>(row) * gridDim.x;
  if (threadIdx.x == 0) {
    // Places count from the part's first; they are turned.
    bests[blockIdx.x] = own == 0 ? 0 : own - start;
    __threadfence();
    before[0] = atomicAdd(args.done + row, 1u);
  }
  __syncthreads();
  if (before[0] != gridDim.x - 1 || threadIdx.x != 0) return;
  __threadfence();
  args.done[row] = 0;
  u64 best = 0;
  for (int i = 0; i < static_cast<int>(gridDim.x); ++i) {
    const u64 other = __ldcg(bests + i);
    if (other > best) best = other;
  }
  if (!args.token) {
    args.found[row] = pairOf(best);
    return;
  }
  const int position = args.state->position;
  args.found[position & (args.ring - 1)] = pairOf(best);
  *args.token = static_cast<int>(~static_cast<u32>(best));
  args.state->position = position + 1;
}

#define SEARCH_THREADS 256

/**
 * The least of the `wanted` largest of more candidates than that, as far as it has to be known: all others are less. It is found 8
 * bits at a time, by counting how many candidates that agree with it so far have which digit next.
 */
template <typename CandidateAt>
DEVICE u64 findLeast(CandidateAt candidateAt, int count, int wanted) {
  SHARED(u32, reaching, SEARCH_THREADS);
  // The digit, how many have a larger one, and how many have it.
  SHARED(u32, found, 3);
  const int digit = threadIdx.x;
  u64 least = 0;
  u32 left = wanted;
  for (int shift = 56; shift >= 0; shift -= 8) {
    reaching[digit] = 0;
    __syncthreads();
    const u64 known = shift == 56 ? 0 : ~u64{0} << (shift + 8);
    for (int i = threadIdx.x; i < count; i += SEARCH_THREADS) {
      const u64 one = candidateAt(i);
      if ((one & known) == least) atomicAdd(&reaching[one >> shift & 255], 1u);
    }
    __syncthreads();
    const u32 own = reaching[digit];
    // Of each digit: how many candidates have it or a larger one.
    for (int distance = 1; distance < SEARCH_THREADS; distance <<= 1) {
      const u32 further = digit + distance < SEARCH_THREADS ? reaching[digit + distance] : 0;
      __syncthreads();
      reaching[digit] += further;
      __syncthreads();
    }
    const u32 larger = reaching[digit] - own;
    if (larger < left && reaching[digit] >= left) {
      found[0] = digit;
      found[1] = larger;
      found[2] = own;
    }
    __syncthreads();
    least |= static_cast<u64>(found[0]) << shift;
    left -= found[1];
    if (found[2] == left) break;
    // The next digit's counts take the place of these.
    __syncthreads();
  }
  return least;
}

/** Writes the `wanted` largest candidates in no order, or all there are and 0 for the others. */
template <typename CandidateAt>
DEVICE void selectTop(CandidateAt candidateAt, int count, int wanted, uint2* out) {
  SHARED(u32, filled, 1);
  const u64 least = count > wanted ? findLeast(candidateAt, count, wanted) : 0;
  if (threadIdx.x == 0) filled[0] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < count; i += SEARCH_THREADS) {
    const u64 one = candidateAt(i);
    if (one >= least) out[atomicAdd(&filled[0], 1u)] = pairOf(one);
  }
  for (int i = count + threadIdx.x; i < wanted; i += SEARCH_THREADS) out[i] = pairOf(0);
}

struct TopArgs {
  const float* logits;
  uint2* found;
  int width;
  /** Logits that a block looks at. */
  int part;
  int wanted;
  int stride;
};

/** Every block finds those of a part of a row: [row][part] lists. */
KERNEL(search_top, TopArgs, SEARCH_THREADS) {
  waitForInputs();
  const int start = blockIdx.x * args.part;
  const float* const logits = args.logits + static_cast<u64>(blockIdx.y) * args.stride;
  selectTop([=](int i) { return candidateOf(logits[start + i], start + i); }, min(args.part, args.width - start),
            args.wanted, args.found + (static_cast<u64>(blockIdx.y) * gridDim.x + blockIdx.x) * args.wanted);
}

struct JoinArgs {
  const uint2* candidates;
  uint2* found;
  /** Candidates of a row. */
  int count;
  int wanted;
};

/** Of each row a block finds those of theirs. */
KERNEL(search_join, JoinArgs, SEARCH_THREADS) {
  waitForInputs();
  const uint2* const candidates = args.candidates + static_cast<u64>(blockIdx.x) * args.count;
  selectTop([=](int i) { return static_cast<u64>(candidates[i].x) << 32 | candidates[i].y; }, args.count, args.wanted,
            args.found + static_cast<u64>(blockIdx.x) * args.wanted);
}

DEVICE float logitOf(u32 key) {
  return __int_as_float(static_cast<int>(key >> 31 != 0 ? key ^ 0x80000000u : ~key));
}

/** Logits of a part: one quad a thread. */
#define SUMS_PART (4 * SEARCH_THREADS)

/** As the host reads it. */
struct PartSum {
  /** Of exp((logit - highest) / temperature), with the part's own highest. */
  double sum;
  /** Of the highest. */
  u32 key;
  u32 unused;
};

struct SumsArgs {
  const float* logits;
  /** [row][part] */
  PartSum* found;
  /** Of each row, in memory of the host, where they are before the launch. */
  const double* temperatures;
  int width;
  int stride;
};

/** Every block sums a part of a row. */
KERNEL(search_sums, SumsArgs, SEARCH_THREADS) {
  const double temperature = *static_cast<const volatile double*>(args.temperatures + blockIdx.y);
  waitForInputs();
  SHARED(u32, highestOfWarp, 32);
  SHARED(double, sumOfWarp, 32);
  const int k = blockIdx.x * SUMS_PART + 4 * threadIdx.x;
  // Rows begin at whole quads, and end before what is read.
  float values[4] = {};
  if (k < args.width) {
    const float4 quad =
        *reinterpret_cast<const float4*>(args.logits + static_cast<u64>(blockIdx.y) * args.stride + k);
    values[0] = quad.x, values[1] = quad.y, values[2] = quad.z, values[3] = quad.w;
  }
  u32 key = 0;
#pragma unroll
  for (int n = 0; n < 4; ++n)
    if (k + n < args.width && keyOf(values[n]) > key) key = keyOf(values[n]);
  key = reduceBlock(key, highestOfWarp, largerOf<u32>);
  const float highest = logitOf(key);
  double sum = 0;
  // Where all are -infinity their differences are not numbers.
#pragma unroll
  for (int n = 0; n < 4; ++n)
    if (k + n < args.width && highest != -INFINITE)
      sum += exp((static_cast<double>(values[n]) - static_cast<double>(highest)) / temperature);
  sum = reduceBlock(sum, sumOfWarp, [](double a, double b) { return a + b; });
  if (threadIdx.x == 0) args.found[static_cast<u64>(blockIdx.y) * gridDim.x + blockIdx.x] = {sum, key, 0};
}
