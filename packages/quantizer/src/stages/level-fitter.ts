// The exact one-dimensional fit of stage 1: the best two or four levels of one group of weights under an
// importance-weighted squared error. Sorting, prefix sums and dynamic programming; nothing is allocated per group.

/** Points whose importance is below this fraction of the largest one cannot be told apart in the prefix sums. */
const IMPORTANCE_FLOOR = 2 ** -40;
/** Runs of this length are sorted by insertion before they are merged. */
const INSERTION_RUN = 8;

/**
 * Weighted k-means on a line, solved exactly (Wang & Song 2011, "Ckmeans.1d.dp"; the divide-and-conquer order of
 * the dynamic program follows Wu 1991). Scratch memory is kept between calls: one fitter per thread.
 *
 * Optimal up to rounding in double precision: clusters are compared through prefix sums of values centred on their
 * weighted mean, and the levels themselves are then summed directly from the members.
 */
export class LevelFitter {
  readonly #keys: Float64Array;
  readonly #merged: Float64Array;
  /** The same bytes as `keys` and `merged`, to reach the low half of a double. */
  readonly #keyWords: Uint32Array;
  readonly #mergedWords: Uint32Array;
  /** Sorted values, their importance, and both prefix sums (index i = the first i points). */
  readonly #values: Float64Array;
  readonly #importance: Float64Array;
  readonly #weightSums: Float64Array;
  readonly #valueSums: Float64Array;
  /** gains[k][j]: the largest between-cluster sum of squares of the first j points in k + 1 clusters. */
  readonly #gains: readonly [Float64Array, Float64Array, Float64Array];
  /** starts[k][j]: where the last of those k + 1 clusters starts. */
  readonly #starts: readonly [Uint16Array, Uint16Array, Uint16Array];
  readonly #symmetric = new Float64Array(2);

  /** @param capacity Most points in one group, at most 65,535. */
  constructor(capacity: number) {
    const doubles = () => new Float64Array(capacity + 1);
    const indices = () => new Uint16Array(capacity + 1);
    this.#keys = doubles();
    this.#merged = doubles();
    this.#keyWords = new Uint32Array(this.#keys.buffer);
    this.#mergedWords = new Uint32Array(this.#merged.buffer);
    this.#values = doubles();
    this.#importance = doubles();
    this.#weightSums = doubles();
    this.#valueSums = doubles();
    this.#gains = [doubles(), doubles(), doubles()];
    this.#starts = [indices(), indices(), indices()];
  }

  /**
   * The four levels that minimise sum h (w - nearest level)^2, ascending. With fewer than four distinct values some
   * levels coincide. When no point has any importance, all count the same.
   *
   * @param values f32 weights, `count` of them from `start`; all finite.
   * @param importance h >= 0, finite, aligned with the group: `importance[importanceStart + i]` belongs to point i.
   * @param levels Receives the four levels.
   */
  fitFree(
    values: Float32Array,
    start: number,
    count: number,
    importance: Float64Array,
    importanceStart: number,
    levels: Float64Array,
  ): void {
    const kept = this.#load(values, start, count, importance, importanceStart, false);
    this.#cluster(kept, 4, levels);
  }

  /**
   * The symmetric levels -b, -a, a, b (0 <= a <= b) that minimise the same error, ascending: two clusters of |w|.
   * Parameters as in `fitFree`.
   */
  fitSymmetric(
    values: Float32Array,
    start: number,
    count: number,
    importance: Float64Array,
    importanceStart: number,
    levels: Float64Array,
  ): void {
    const kept = this.#load(values, start, count, importance, importanceStart, true);
    const magnitudes = this.#symmetric;
    this.#cluster(kept, 2, magnitudes);
    levels[0] = -magnitudes[1]!;
    levels[1] = -magnitudes[0]!;
    levels[2] = magnitudes[0]!;
    levels[3] = magnitudes[1]!;
  }

  /** Sorts the points that count and fills values, importance and prefix sums. Returns how many there are. */
  #load(
    values: Float32Array,
    start: number,
    count: number,
    importance: Float64Array,
    importanceStart: number,
    magnitudes: boolean,
  ): number {
    let largest = 0;
    for (let i = 0; i < count; i++) {
      const h = importance[importanceStart + i]!;
      if (h > largest) largest = h;
    }
    const uniform = largest === 0;
    const floor = largest * IMPORTANCE_FLOOR;

    // An f32 leaves the low 29 bits of a double free: the point's index goes there, so that sorting plain numbers
    // sorts the pairs, and equal weights keep a defined order.
    const keys = this.#keys;
    const words = this.#keyWords;
    let kept = 0;
    for (let i = 0; i < count; i++) {
      if (!uniform && importance[importanceStart + i]! <= floor) continue;
      const value = values[start + i]!;
      keys[kept] = magnitudes && value < 0 ? -value : value;
      words[2 * kept]! |= i;
      kept++;
    }
    const sorted = this.#sort(kept);
    const order = sorted === keys ? words : this.#mergedWords;

    const sortedValues = this.#values;
    const sortedImportance = this.#importance;
    let weightSum = 0;
    let valueSum = 0;
    for (let i = 0; i < kept; i++) {
      const index = order[2 * i]! & 0xffff;
      const value = values[start + index]!;
      const magnitude = magnitudes && value < 0 ? -value : value;
      const h = uniform ? 1 : importance[importanceStart + index]!;
      sortedValues[i] = magnitude;
      sortedImportance[i] = h;
      weightSum += h;
      valueSum += h * magnitude;
    }
    const mean = kept === 0 ? 0 : valueSum / weightSum;
    const weightSums = this.#weightSums;
    const valueSums = this.#valueSums;
    weightSum = 0;
    valueSum = 0;
    weightSums[0] = 0;
    valueSums[0] = 0;
    for (let i = 0; i < kept; i++) {
      const h = sortedImportance[i]!;
      weightSum += h;
      valueSum += h * (sortedValues[i]! - mean);
      weightSums[i + 1] = weightSum;
      valueSums[i + 1] = valueSum;
    }
    return kept;
  }

  /** Sorts the first `count` keys; returns the buffer that holds the result. */
  #sort(count: number): Float64Array {
    let from = this.#keys;
    for (let run = 0; run < count; run += INSERTION_RUN) {
      const end = Math.min(run + INSERTION_RUN, count);
      for (let i = run + 1; i < end; i++) {
        const key = from[i]!;
        let j = i - 1;
        while (j >= run && from[j]! > key) {
          from[j + 1] = from[j]!;
          j--;
        }
        from[j + 1] = key;
      }
    }
    let to = this.#merged;
    for (let width = INSERTION_RUN; width < count; width *= 2) {
      for (let run = 0; run < count; run += 2 * width) {
        const middle = Math.min(run + width, count);
        const end = Math.min(middle + width, count);
        let left = run;
        let right = middle;
        for (let out = run; out < end; out++) {
          if (left < middle && (right >= end || from[left]! <= from[right]!)) to[out] = from[left++]!;
          else to[out] = from[right++]!;
        }
      }
      const swap = from;
      from = to;
      to = swap;
    }
    return from;
  }

  /** The best `clusters` (2 or 4) clusters of the loaded points, as ascending means. */
  #cluster(count: number, clusters: 2 | 4, levels: Float64Array): void {
    const weightSums = this.#weightSums;
    const valueSums = this.#valueSums;
    const first = this.#gains[0];
    first[0] = 0;
    for (let j = 1; j <= count; j++) first[j] = (valueSums[j]! * valueSums[j]!) / weightSums[j]!;
    if (clusters === 4) {
      this.#addCluster(count, 1);
      this.#addCluster(count, 2);
    }
    const last = clusters === 4 ? 2 : 0;
    let end = count;
    let begin = this.#bestStart(this.#gains[last], count, 0, count);
    for (let cluster = clusters - 1; cluster >= 0; cluster--) {
      levels[cluster] = this.#mean(begin, end);
      end = begin;
      begin = cluster > 1 ? this.#starts[cluster - 1]![end]! : 0;
    }
    // An empty cluster has no mean: it repeats a neighbour, so that all levels are defined.
    for (let cluster = clusters - 2; cluster >= 0; cluster--) {
      if (Number.isNaN(levels[cluster])) levels[cluster] = levels[cluster + 1]!;
    }
    for (let cluster = 0; cluster < clusters; cluster++) {
      if (Number.isNaN(levels[cluster])) levels[cluster] = cluster > 0 ? levels[cluster - 1]! : 0;
    }
  }

  /**
   * Fills layer k from layer k - 1 for every prefix. The best start of the last cluster never decreases with the
   * prefix's length (the cost satisfies the quadrangle inequality), so the midpoints are solved first and bound
   * the search of what lies between them: O(n log n) a layer.
   */
  #addCluster(count: number, layer: 1 | 2): void {
    const previous = this.#gains[layer - 1]!;
    const starts = this.#starts[layer]!;
    starts[0] = 0;
    this.#gains[layer]![0] = 0;
    let stride = 1;
    while (stride * 2 <= count) stride *= 2;
    for (; stride >= 1; stride >>= 1) {
      for (let j = stride; j <= count; j += 2 * stride) {
        const above = j + stride <= count ? starts[j + stride]! : j;
        starts[j] = this.#bestStart(previous, j, starts[j - stride]!, Math.min(above, j));
        this.#gains[layer]![j] = this.#bestGain;
      }
    }
  }

  #bestGain = 0;

  /** The start i in [low, high] of a last cluster [i, j) that gains most on top of `previous[i]`; ties go to the left. */
  #bestStart(previous: Float64Array, j: number, low: number, high: number): number {
    const weightSums = this.#weightSums;
    const valueSums = this.#valueSums;
    const weightEnd = weightSums[j]!;
    const valueEnd = valueSums[j]!;
    const stop = high < j ? high + 1 : j;
    let best = -1;
    let bestStart = low;
    for (let i = low; i < stop; i++) {
      const value = valueEnd - valueSums[i]!;
      const gain = previous[i]! + (value * value) / (weightEnd - weightSums[i]!);
      if (gain > best) {
        best = gain;
        bestStart = i;
      }
    }
    if (high >= j && previous[j]! > best) {
      best = previous[j]!;
      bestStart = j;
    }
    this.#bestGain = best;
    return bestStart;
  }

  /** Weighted mean of the sorted points [begin, end); NaN when there are none. */
  #mean(begin: number, end: number): number {
    let weightSum = 0;
    let valueSum = 0;
    for (let i = begin; i < end; i++) {
      const h = this.#importance[i]!;
      weightSum += h;
      valueSum += h * this.#values[i]!;
    }
    return valueSum / weightSum;
  }
}
