// Levels that codes or a relaxed bitmap choose, and the penalty of such a bitmap, for tensors in typed arrays of this process: each is
// one pass over memory, as fast here as in a kernel.

export interface LevelPlaces {
  readonly rows: number;
  readonly columns: number;
  readonly groupSize: number;
  readonly groups: number;
}

export function levelPlaces([rows, columns]: [number, number], groupSize: number): LevelPlaces {
  return { rows, columns, groupSize, groups: Math.ceil(columns / groupSize) };
}

export function pick(
  codes: Int32Array,
  levels: Float32Array,
  { rows, columns, groupSize, groups }: LevelPlaces,
  out: Float32Array,
): void {
  for (let row = 0; row < rows; row++)
    for (let group = 0; group < groups; group++) {
      const first = (row * groups + group) * 4;
      const end = row * columns + Math.min(columns, (group + 1) * groupSize);
      for (let i = row * columns + group * groupSize; i < end; i++) out[i] = levels[first + codes[i]!]!;
    }
}

/** The transpose of `pick`: sums over the weights at each level. */
export function gather(
  codes: Int32Array,
  gradient: Float32Array,
  { rows, columns, groupSize, groups }: LevelPlaces,
  sums: Float32Array,
): void {
  sums.fill(0);
  for (let row = 0; row < rows; row++)
    for (let group = 0; group < groups; group++) {
      const first = (row * groups + group) * 4;
      const end = row * columns + Math.min(columns, (group + 1) * groupSize);
      for (let i = row * columns + group * groupSize; i < end; i++) sums[first + codes[i]!]! += gradient[i]!;
    }
}

/** Levels of each group ascend at first: 1 and 2 are the inner pair, 0 and 3 the outer. */
export function relax(
  latent: Float32Array,
  bitmap: Float32Array,
  levels: Float32Array,
  { rows, columns, groupSize, groups }: LevelPlaces,
  out: Float32Array,
): void {
  for (let row = 0; row < rows; row++)
    for (let group = 0; group < groups; group++) {
      const first = (row * groups + group) * 4;
      const end = row * columns + Math.min(columns, (group + 1) * groupSize);
      for (let i = row * columns + group * groupSize; i < end; i++) {
        const sign = latent[i]! > 0 ? 1 : 0;
        out[i] = levels[first + (bitmap[i]! > 0.5 ? 3 * sign : 1 + sign)]!;
      }
    }
}

/** To the bitmap the gradient times the outer level minus the inner one, to each level the sum over its weights. */
export function relaxGradient(
  latent: Float32Array,
  bitmap: Float32Array,
  levels: Float32Array,
  gradient: Float32Array,
  { rows, columns, groupSize, groups }: LevelPlaces,
  dBitmap: Float32Array,
  dLevels: Float32Array,
): void {
  dLevels.fill(0);
  for (let row = 0; row < rows; row++)
    for (let group = 0; group < groups; group++) {
      const first = (row * groups + group) * 4;
      const end = row * columns + Math.min(columns, (group + 1) * groupSize);
      const below = Math.fround(levels[first]! - levels[first + 1]!);
      const above = Math.fround(levels[first + 3]! - levels[first + 2]!);
      for (let i = row * columns + group * groupSize; i < end; i++) {
        const sign = latent[i]! > 0 ? 1 : 0;
        dBitmap[i] = gradient[i]! * (sign === 1 ? above : below);
        dLevels[first + (bitmap[i]! > 0.5 ? 3 * sign : 1 + sign)]! += gradient[i]!;
      }
    }
}

export function polarisation(bitmap: Float32Array): number {
  let sum = 0;
  for (const value of bitmap) sum += (1 - (2 * value - 1) ** 2) ** 2;
  return sum / bitmap.length;
}

/** Rounded as the composed operation rounds, so that both train alike. */
export function polarisationGradient(bitmap: Float32Array, g: number, out: Float32Array): void {
  const { fround } = Math;
  const scale = fround(g * fround(-8 / bitmap.length));
  for (let i = 0; i < bitmap.length; i++) {
    const u = fround(fround(2 * bitmap[i]!) - 1);
    const open = fround(1 - fround(u * u));
    out[i] = fround(u * open) * scale;
  }
}
