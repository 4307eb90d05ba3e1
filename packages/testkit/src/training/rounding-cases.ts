// Cases of the training kernels that round to few values, and of the loss.
import { createRandom, drawActivations } from '../random-values.ts';
import * as tolerance from '../tolerance.ts';
import { blank, dot, draw, type Expected, type SlopeCheck, type TrainingCase } from './cases.ts';
import * as reference from './reference.ts';

const { gamma, UNIT, EXP_ERROR, UNDERFLOW } = tolerance;

export type RowMaker = (width: number, index: number) => ArrayLike<number>;

export function quantizeCase(
  name: string,
  rows: number,
  width: number,
  clips_: number[],
  make?: RowMaker,
): TrainingCase {
  const random = createRandom(rows + width);
  const clips = Float32Array.from(clips_);
  const x = drawActivations(random, rows * width);
  for (let row = 0; make && row < rows; row++) x.set(make(width, row), row * width);
  const dOut = draw(random, x.length);
  const out: number[] = [];
  const dX: number[] = [];
  const dClips = [0, 0];
  const absolute = [0, 0];
  /** Of each value what rounding did to it, in steps; Infinity below, -Infinity above the ends. */
  const moved: number[] = [];
  for (let at = 0; at < x.length; at += width) {
    const row = reference.quantizeRow(x.subarray(at, at + width), clips);
    out.push(...row.decoded);
    let [low, high, sum] = [0, 0, 0];
    for (let k = 0; k < width; k++) {
      const [v, d] = [x[at + k]!, dOut[at + k]!];
      const broken = Number.isNaN(row.lo);
      const [below, above] = [v < row.lo, v > row.hi];
      const flat = row.step === 0;
      const within = !below && !above;
      const rest = within && !flat ? row.codes[k]! - (v - row.lo) / row.step : 0;
      moved.push(
        below || (flat && !within) ? Number.POSITIVE_INFINITY : above ? Number.NEGATIVE_INFINITY : rest,
      );
      dX.push(broken ? Number.NaN : within ? d : 0);
      if (below || (flat && !within)) low += d;
      else if (above) high += d;
      else {
        high += (d * rest) / 15;
        low -= (d * rest) / 15;
      }
      sum += Math.abs(d);
      if (broken) low = high = Number.NaN;
    }
    dClips[0]! += low * row.least;
    dClips[1]! += high * row.most;
    absolute[0]! += sum * Math.abs(row.least);
    absolute[1]! += sum * Math.abs(row.most);
  }
  // With what rounding moved each value by held fast, the derivative of what is left is the gradient straight through.
  const through = (values: Float64Array, ends: Float64Array) => {
    let sum = 0;
    for (let at = 0; at < x.length; at += width) {
      const { least, most, step } = reference.quantizeRow(x.subarray(at, at + width), clips);
      const [lo, hi] = [ends[0]! * least, ends[1]! * most];
      for (let k = at; k < at + width; k++) {
        const rest = moved[k]!;
        const y = Number.isFinite(rest)
          ? values[k]! + (step === 0 ? 0 : (rest * (hi - lo)) / 15)
          : rest > 0
            ? lo
            : hi;
        sum += y * dOut[k]!;
      }
    }
    return sum;
  };
  const finite = dX.every(Number.isFinite);
  const [at, ends] = [Float64Array.from(x), Float64Array.from(clips)];
  const slopes: SlopeCheck[] = [
    { name: 'dX', at, f: (values) => through(values, ends), slopes: dX },
    { name: 'dClips', at: ends, f: (values) => through(at, values), slopes: dClips },
  ];
  return {
    name: `quantizeActivations ${rows} x ${width}, ${name}`,
    run: (kernels) => {
      const results = { out: blank(x.length), dX: blank(x.length), dClips: blank(2) };
      kernels.quantizeActivations(x, width, clips, results.out);
      kernels.quantizeActivationsGradient(x, width, clips, dOut, results.dX, results.dClips);
      return results;
    },
    expected: {
      out: { values: out, bounds: null },
      dX: { values: dX, bounds: null },
      // A place is rounded twice and at most 15; what is left of it is a fifteenth of that in the gradient.
      dClips: {
        values: dClips,
        bounds: dClips.map(
          (value, i) => gamma(width + 16) * absolute[i]! + UNIT * Math.abs(value) + UNDERFLOW,
        ),
      },
    },
    slopes: finite ? slopes : [],
  };
}

/** What levels get that weights have chosen: to each the sum over its weights. @param choices places in `levels` */
function levelGradient(
  choices: readonly number[],
  levels: Float32Array,
  dOut: Float32Array,
  groupSize: number,
): { readonly expected: Expected; readonly slope: SlopeCheck } {
  const values = new Float64Array(levels.length);
  const absolute = new Float64Array(levels.length);
  for (const [i, choice] of choices.entries()) {
    values[choice]! += dOut[i]!;
    absolute[choice]! += Math.abs(dOut[i]!);
  }
  return {
    expected: { values, bounds: absolute.map((sum) => gamma(groupSize + 8) * sum) },
    slope: {
      name: 'dLevels',
      at: Float64Array.from(levels),
      f: (at) => choices.reduce((sum, choice, i) => sum + at[choice]! * dOut[i]!, 0),
      slopes: values,
    },
  };
}

export function levelsCase(rows: number, columns: number, groupSize: number, ties: boolean): TrainingCase {
  const random = createRandom(rows + columns + groupSize);
  const groups = Math.ceil(columns / groupSize);
  const whole = (count: number) => Float32Array.from({ length: count }, () => Math.floor(random() * 9) - 4);
  const [latent, levels] = ties
    ? [whole(rows * columns), whole(rows * groups * 4)]
    : [draw(random, rows * columns), draw(random, rows * groups * 4)];
  const dOut = draw(random, latent.length);
  const choices = Array.from(latent, (x, i) => {
    const group = 4 * (Math.floor(i / columns) * groups + Math.floor((i % columns) / groupSize));
    return group + reference.nearestLevel(x, levels.subarray(group, group + 4));
  });
  const dLevels = levelGradient(choices, levels, dOut, groupSize);
  return {
    name: `nearestLevels ${rows} x ${columns} by ${groupSize}${ties ? ', ties' : ''}`,
    run: (kernels) => {
      const results = { out: blank(latent.length), dLevels: blank(levels.length) };
      kernels.nearestLevels(latent, levels, columns, groupSize, results.out);
      kernels.nearestLevelsGradient(latent, levels, columns, groupSize, dOut, results.dLevels);
      return results;
    },
    expected: {
      out: { values: choices.map((choice) => levels[choice]!), bounds: null },
      dLevels: dLevels.expected,
    },
    slopes: [dLevels.slope],
  };
}

export function chosenCase(rows: number, columns: number, groupSize: number): TrainingCase {
  const random = createRandom(rows + columns + groupSize);
  const groups = Math.ceil(columns / groupSize);
  const codes = Int32Array.from({ length: rows * columns }, () => Math.floor(random() * 4));
  const levels = draw(random, rows * groups * 4);
  const dOut = draw(random, codes.length);
  const choices = Array.from(
    codes,
    (code, i) => 4 * (Math.floor(i / columns) * groups + Math.floor((i % columns) / groupSize)) + code,
  );
  const dLevels = levelGradient(choices, levels, dOut, groupSize);
  return {
    name: `chosenLevels ${rows} x ${columns} by ${groupSize}`,
    run: (kernels) => {
      const results = { out: blank(codes.length), dLevels: blank(levels.length) };
      kernels.chosenLevels(codes, levels, columns, groupSize, results.out);
      kernels.chosenLevelsGradient(codes, columns, groupSize, dOut, results.dLevels);
      return results;
    },
    expected: {
      out: { values: choices.map((choice) => levels[choice]!), bounds: null },
      dLevels: dLevels.expected,
    },
    slopes: [dLevels.slope],
  };
}

/** Bitmaps and latent weights on either side of their thresholds, and at them; levels in any order, as training can leave them. */
export function relaxedCase(rows: number, columns: number, groupSize: number, push: number): TrainingCase {
  const random = createRandom(rows + columns + groupSize);
  const groups = Math.ceil(columns / groupSize);
  const latent = draw(random, rows * columns).map((x, i) => (i % 5 === 0 ? 0 : x));
  const bitmap = draw(random, latent.length).map((x, i) => (i % 7 === 0 ? 0.5 : 0.5 + x));
  const levels = draw(random, rows * groups * 4);
  const dOut = draw(random, latent.length);
  const groupOf = (i: number) =>
    4 * (Math.floor(i / columns) * groups + Math.floor((i % columns) / groupSize));
  const choices = Array.from(latent, (x, i) => groupOf(i) + reference.relaxedLevel(x, bitmap[i]!));
  const dLevels = levelGradient(choices, levels, dOut, groupSize);
  const slopes = Float64Array.from(latent, (x, i) => {
    const [inner, outer] = [0, 1].map((b) => levels[groupOf(i) + reference.relaxedLevel(x, b)]!);
    return outer! - inner!;
  });
  const u = Float64Array.from(bitmap, (b) => 2 * b - 1);
  const pushed = u.map((value) => push * value * (1 - value * value));
  const dBitmap = slopes.map((slope, i) => slope * dOut[i]! + pushed[i]!);
  return {
    name: `relaxedLevels ${rows} x ${columns} by ${groupSize}, push ${push}`,
    run: (kernels) => {
      const results = {
        out: blank(latent.length),
        dBitmap: blank(latent.length),
        dLevels: blank(levels.length),
      };
      kernels.relaxedLevels(latent, bitmap, levels, columns, groupSize, results.out);
      const { dBitmap, dLevels } = results;
      kernels.relaxedLevelsGradient(latent, bitmap, levels, columns, groupSize, push, dOut, dBitmap, dLevels);
      return results;
    },
    expected: {
      out: { values: choices.map((choice) => levels[choice]!), bounds: null },
      dBitmap: {
        values: dBitmap,
        // Each term is rounded 3 or 6 times at most, 1 - u^2 by what it is the difference of, the sum once.
        bounds: dBitmap.map(
          (_, i) =>
            gamma(4) * Math.abs(slopes[i]! * dOut[i]!) +
            gamma(8) * Math.abs(push * u[i]!) * (1 + u[i]! ** 2) +
            UNDERFLOW,
        ),
      },
      dLevels: dLevels.expected,
    },
    slopes: [
      dLevels.slope,
      {
        // The bitmap as if the level moved with it, and the penalty that `push` is the slope of.
        name: 'dBitmap',
        at: Float64Array.from(bitmap),
        f: (at) =>
          at.reduce(
            (sum, b, i) => sum + b * slopes[i]! * dOut[i]! - (push / 8) * (1 - (2 * b - 1) ** 2) ** 2,
            0,
          ),
        slopes: dBitmap,
      },
    ],
  };
}

export function distillCase(rows: number, width: number, scale: number): TrainingCase {
  const random = createRandom(rows + width);
  const [teacher, student] = [draw(random, rows * width, scale), draw(random, rows * width, scale)];
  const dLosses = draw(random, rows);
  const losses = new Float64Array(rows);
  const dStudent = new Float64Array(student.length);
  const bounds = { losses: new Float64Array(rows), dStudent: new Float64Array(student.length) };
  // At most 64 sums in one lane, then across lanes.
  const roundings = gamma(64 + 16);
  for (let row = 0; row < rows; row++) {
    const at = row * width;
    const [t, s] = [teacher, student].map((x) => x.subarray(at, at + width)) as [Float32Array, Float32Array];
    const [shareT, shareS] = [reference.softmax(t), reference.softmax(s)];
    const [mostT, mostS] = [Math.max(...t), Math.max(...s)];
    const [errorT, errorS] = [t, s].map(
      (x) => EXP_ERROR + UNIT * (Math.max(...x) - Math.min(...x)) + roundings,
    ) as [number, number];
    losses[row] = reference.divergence(t, s);
    let [differences, distances] = [0, 0];
    for (let k = 0; k < width; k++) {
      const [a, b] = [mostT - t[k]!, mostS - s[k]!];
      differences += shareT[k]! * Math.abs(a - b);
      distances += shareT[k]! * (a + b);
      dStudent[at + k] = (shareS[k]! - shareT[k]!) * dLosses[row]!;
      bounds.dStudent[at + k] =
        Math.abs(dLosses[row]!) *
        (shareS[k]! * (2 * errorS + gamma(4)) + shareT[k]! * (2 * errorT + gamma(4)) + 2 ** -100);
    }
    bounds.losses[row] =
      differences * (2 * errorT + roundings) + 2 * UNIT * distances + errorT + errorS + UNIT * losses[row]!;
  }
  return {
    name: `distillationLoss ${rows} x ${width}`,
    run: (kernels) => {
      const results = { losses: blank(rows), dStudent: blank(student.length) };
      kernels.distillationLoss(teacher, student, width, results.losses);
      kernels.distillationLossGradient(teacher, student, width, dLosses, results.dStudent);
      return results;
    },
    expected: {
      losses: { values: losses, bounds: bounds.losses },
      dStudent: { values: dStudent, bounds: bounds.dStudent },
    },
    slopes: [
      {
        name: 'dStudent',
        at: Float64Array.from(student),
        f: (at) => {
          const values = losses.map((_, row) =>
            reference.divergence(
              teacher.subarray(row * width, (row + 1) * width),
              at.subarray(row * width, (row + 1) * width),
            ),
          );
          return dot(values, dLosses);
        },
        slopes: dStudent,
      },
    ],
  };
}

/** Levels so near, or so far apart, that the middle of two is no f32, or no double: the nearest all the same. */
export function middleCase(): TrainingCase {
  const ulp = 2 ** -23;
  const near = (...places: number[]) => places.map((place) => Math.sign(place) * (1 + Math.abs(place) * ulp));
  // Of each group the levels, then latent weights with the levels they are nearest to.
  const groups: readonly (readonly [number[], number[], number[]])[] = [
    [near(8, 1, 5, 4), near(1, 2, 3, 4, 5, 6, 7, 8), near(1, 1, 4, 4, 5, 5, 8, 8)],
    [near(-8, -1, -5, -4), near(-1, -2, -3, -4, -5, -6, -7, -8), near(-1, -1, -4, -4, -5, -5, -8, -8)],
    // A tie, which goes to the lower level.
    [near(5, 2, 9, 2), near(1, 3, 4, 5, 6, 7, 8, 9), near(2, 2, 5, 5, 5, 5, 9, 9)],
    [near(-5, -2, -9, -2), near(-1, -3, -4, -5, -6, -7, -8, -9), near(-2, -2, -5, -5, -5, -9, -9, -9)],
    // 1 is nearer to 2 than to -1e-30, if only just, and nearer to 1e-30 than to 2.
    [
      [2, -1e-30, 50, 60],
      [1, 0.999, 1.001, 0, 1, 0.999, 1.001, 0],
      [2, -1e-30, 2, -1e-30, 2, -1e-30, 2, -1e-30],
    ],
    [
      [2, 1e-30, 50, 60],
      [1, 0.999, 1.001, 0, 1, 0.999, 1.001, 0],
      [1e-30, 1e-30, 2, 1e-30, 1e-30, 1e-30, 2, 1e-30],
    ],
  ];
  const columns = 8;
  const [levels, latent, nearest] = ([0, 1, 2] as const).map((part) =>
    Float32Array.from(groups.flatMap((group) => group[part])),
  ) as [Float32Array, Float32Array, Float32Array];
  return {
    name: 'nearestLevels at the middle',
    run: (kernels) => {
      const out = blank(latent.length);
      kernels.nearestLevels(latent, levels, columns, columns, out);
      return { out };
    },
    expected: { out: { values: nearest, bounds: null } },
    slopes: [],
  };
}
