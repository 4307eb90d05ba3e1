// What the page shows, taken from a report: sums by kind of layer and part of the file, and all that went wrong.
import type { TrainingRecord } from '../distillation/retry.ts';
import type { QuantizeReport, TensorReport } from '../report.ts';

export interface LayerTable {
  readonly title: string;
  readonly note: string;
  /** Kinds of layer, in order of use. */
  readonly kinds: readonly string[];
  /** Of each block, one value a kind; undefined where a block has none. */
  readonly rows: readonly (readonly (number | undefined)[])[];
}

export interface LevelUse {
  readonly kind: string;
  /** Weights at each level, the lowest first. */
  readonly counts: readonly number[];
  readonly means: readonly number[];
}

export interface FilePart {
  readonly name: string;
  readonly what: string;
  readonly bytes: number;
  /** Elements that these bytes stand for; null where that means nothing. */
  readonly weights: number | null;
}

export const STAGES: Readonly<
  Record<number, { readonly name: string; readonly what: string; readonly loss: string }>
> = {
  1: { name: 'Fit', what: 'Levels and bits of each layer, fitted to its inputs.', loss: '' },
  2: {
    name: 'Weights',
    what: 'Weights and levels, trained block by block with unquantized inputs.',
    loss: 'mean squared error of a block\u2019s output, each channel by its variance',
  },
  3: {
    name: 'Inputs',
    what: 'Levels and the ranges of 4-bit inputs, trained block by block.',
    loss: 'mean squared error of a block\u2019s output, each channel by its variance',
  },
  4: {
    name: 'Whole model',
    what: 'All blocks at once, towards the unquantized model\u2019s distribution of the next token.',
    loss: 'divergence from the unquantized model, nats a token',
  },
};

/** 'model.layers.3.self_attn.q_proj.weight' as block 3, kind 'q'; null for what is in no block. */
export function placeOf(name: string): { readonly block: number; readonly kind: string } | null {
  const match = /\.(\d+)\.(?:.*\.)?([^.]+)\.weight$/.exec(name);
  return match ? { block: Number(match[1]), kind: match[2]!.replace(/_proj$/, '') } : null;
}

/** Errors of layers: of their outputs after stage 1, then of their weights after each stage. */
export function layerTables(report: QuantizeReport): LayerTable[] {
  const linear = report.tensors.filter(({ kind }) => kind === 'linear');
  const table = (title: string, note: string, errorOf: (tensor: TensorReport) => number | undefined) => {
    const kinds = [...new Set(linear.map(({ name }) => placeOf(name)?.kind ?? name))];
    const rows: (number | undefined)[][] = [];
    for (const tensor of linear) {
      const { block, kind } = placeOf(tensor.name) ?? { block: 0, kind: tensor.name };
      rows[block] ??= kinds.map(() => undefined);
      rows[block][kinds.indexOf(kind)] = errorOf(tensor);
    }
    return { title, note, kinds, rows: [...rows].map((row) => row ?? kinds.map(() => undefined)) };
  };
  const calibrated = report.calibrationTokens > 0;
  const tables: LayerTable[] = [];
  if (calibrated)
    tables.push(
      table(
        'Outputs, after the fit of stage 1',
        'Squared error of each layer\u2019s outputs on the calibration text, over their squares, in %.',
        (tensor) => tensor.relativeError,
      ),
    );
  for (const { stage, weightErrors } of report.stages)
    if (weightErrors.size > 0)
      tables.push(
        table(
          `Weights, after stage ${stage}`,
          'Squared distance of the weights from the checkpoint\u2019s, over their squares, in %. Training moves weights away where that makes outputs better.',
          ({ name }) => weightErrors.get(name),
        ),
      );
  if (!report.stages.some(({ weightErrors }) => weightErrors.size > 0))
    tables.push(
      table(
        'Weights',
        'Squared distance of the weights from the checkpoint\u2019s, over their squares, in %.',
        (tensor) => tensor.relativeErrorUniform,
      ),
    );
  return tables;
}

/** By kind of layer, and of all together first. */
export function levelUse(tensors: readonly TensorReport[]): LevelUse[] {
  const byKind = new Map<string, { counts: number[]; sums: number[] }>();
  for (const { name, levels } of tensors) {
    if (!levels) continue;
    for (const kind of ['all', placeOf(name)?.kind ?? name]) {
      const entry = byKind.get(kind) ?? { counts: [0, 0, 0, 0], sums: [0, 0, 0, 0] };
      byKind.set(kind, entry);
      for (let level = 0; level < 4; level++) {
        entry.counts[level]! += levels.counts[level]!;
        entry.sums[level]! += levels.counts[level]! * levels.means[level]!;
      }
    }
  }
  return [...byKind].map(([kind, { counts, sums }]) => ({
    kind,
    counts,
    means: sums.map((sum, level) => (counts[level] === 0 ? 0 : sum / counts[level]!)),
  }));
}

/** What the bytes of the file are spent on; they add up to all of them. */
export function fileParts(report: QuantizeReport): FilePart[] {
  const linear = report.tensors.filter(({ kind }) => kind === 'linear');
  const sum = (list: readonly TensorReport[], pick: (tensor: TensorReport) => number) =>
    list.reduce((total, tensor) => total + pick(tensor), 0);
  const weights = sum(linear, (tensor) => tensor.weights);
  const roles = new Set(linear.flatMap(({ planes }) => Object.keys(planes)));
  const planes = (...names: string[]): number =>
    sum(linear, (tensor) =>
      Object.entries(tensor.planes).reduce(
        (all, [role, size]) => (names.includes(role) ? all + size : all),
        0,
      ),
    );
  const known = ['sign', 'bitmap', 'alpha', 'mu'];
  const rest = [...roles].filter((role) => !known.includes(role));
  const ofKind = (kind: TensorReport['kind'], name: string, what: string): FilePart => {
    const own = report.tensors.filter((tensor) => tensor.kind === kind);
    const encodings = [...new Set(own.map(({ encoding }) => encoding))].join(', ');
    return {
      name,
      what: encodings === '' ? what : `${what}, ${encodings}`,
      bytes: sum(own, (tensor) => tensor.bytes),
      weights: sum(own, (tensor) => tensor.weights),
    };
  };
  const parts: FilePart[] = [
    { name: 'Signs', what: 'one bit a weight of linear layers', bytes: planes('sign'), weights },
    { name: 'Bitmaps', what: 'one bit a weight of linear layers', bytes: planes('bitmap'), weights },
    { name: 'Levels', what: 'alpha and mu of every group', bytes: planes('alpha', 'mu'), weights },
    { name: 'Outliers', what: 'columns kept in 8 bits', bytes: planes(...rest), weights: null },
    ofKind('embedding', 'Embedding', 'one row a token'),
    ofKind('head', 'Output head', 'one row a token'),
    ofKind('norm', 'Norms', 'one value a channel'),
  ];
  const stored = sum(report.tensors, (tensor) => tensor.bytes);
  parts.push({
    name: 'Rest',
    what: 'header, tokenizer, padding',
    bytes: report.fileBytes - stored,
    weights: null,
  });
  return parts.filter((part) => part.bytes > 0);
}

export interface Notice {
  readonly place: string;
  readonly text: string;
}

/** What did not go as planned: divergences, and blocks that training made no better. */
export function notices({ stages, hasTokenizer }: QuantizeReport): Notice[] {
  const found: Notice[] = [];
  if (!hasTokenizer)
    found.push({
      place: 'Tokenizer',
      text: 'The checkpoint has none, so what needs text refuses the container.',
    });
  for (const { stage, trainings } of stages) {
    const left: number[] = [];
    for (const [block, training] of trainings.entries()) {
      const { divergences, heldOutAfter } = training;
      if (divergences.length > 0)
        found.push({
          place: placeName(stage, block),
          text: `Diverged: ${divergences.join('; ')}. Begun anew with lower rates${heldOutAfter === null ? ', in vain: it stayed as it was' : ''}.`,
        });
      if (!training.kept && heldOutAfter !== null) left.push(block);
    }
    if (left.length > 0)
      found.push({
        place: `Stage ${stage}`,
        text:
          stage === 4
            ? 'The model came out no better on held-out text, and stayed as it was.'
            : `No better on held-out text, left as they were: block${left.length > 1 ? 's' : ''} ${left.join(', ')}.`,
      });
  }
  return found;
}

export function placeName(stage: number, block: number): string {
  return stage === 4 ? 'Stage 4' : `Stage ${stage}, block ${block}`;
}

/** Means of neighbours where there are more losses than a chart has room for; what is no number is left out. */
export function thin(
  losses: TrainingRecord['losses'],
  most: number,
): { readonly step: number; readonly loss: number }[] {
  const size = Math.ceil(losses.length / most);
  const points: { step: number; loss: number }[] = [];
  for (let start = 0; start < losses.length; start += size) {
    const some = losses.slice(start, start + size).filter(Number.isFinite);
    if (some.length > 0)
      points.push({ step: start + size / 2, loss: some.reduce((sum, loss) => sum + loss, 0) / some.length });
  }
  return points;
}
