// Steps of everything that is not a matrix product: norms, codes, rotations, attention, sums.
import type { Operation } from '@duobit/core';
import { rotationSpan } from '@duobit/format';
import { padTo } from './constants.ts';
import { type Context, codeImports, forKinds } from './context.ts';
import type { Unit } from './fuse.ts';
import { CHUNK_COLUMNS, type SlotPlace } from './slots.ts';
import { float, type Step } from './steps.ts';

type Of<K extends Operation['op']> = Extract<Operation, { readonly op: K }>;

const place = ({ layout }: Context, slot: string): SlotPlace => layout.places.get(slot)!;

/** One workgroup a row. */
const perRow = (kernel: ReturnType<Context['builder']['add']>) => (run: { rows: number }) => ({
  ...kernel(),
  x: 1,
  y: run.rows,
});

/** How many threads hold a row, and how much of it each; a thread makes as few words of codes as there are threads for. */
function spreadRow({ mostThreads }: Context, width: number) {
  const blocks = padTo(width, CHUNK_COLUMNS) / 32;
  const words = blocks * 8;
  const threads = Math.min(mostThreads, Math.max(64, 2 ** Math.ceil(Math.log2(words))));
  return { blocks, constants: { THREADS: threads, HELD: Math.ceil(words / threads), WIDTH: width } };
}

/** Bytes that a workgroup shares when it rotates a row before it makes its codes: the row, and what sums and codes need. */
export function rotatedBytes(context: Context, width: number): number {
  const { blocks, constants } = spreadRow(context, width);
  return 128 * blocks + 8 * constants.THREADS + 16 * blocks;
}

/** Codes of a slot, and before them what fills the slot, where that is part of the unit. */
export function quantizeStep(
  context: Context,
  { source, rotate, quantize }: Omit<Extract<Unit, { kind: 'quantized' }>, 'kind'>,
): Step {
  const { builder, arenas, imports, constants, weights } = context;
  const [input, out] = [place(context, quantize.input), place(context, quantize.out)];
  const filled = rotate ? place(context, rotate.input) : input;
  const norm = source?.op === 'rmsNorm' ? source : null;
  const gate = source?.op === 'siluMul' ? source : null;
  const row = norm ? 'row-norm' : gate ? 'row-silu' : 'row-given';
  const rotation = rotate ? 'rotation-tile' : 'rotation-none';
  const first = norm ? place(context, norm.input) : gate ? place(context, gate.gate) : filled;
  const second = gate ? place(context, gate.up) : filled;
  const { clipLow, clipHigh } = quantize.quantizer;
  const { blocks, constants: spread } = spreadRow(context, input.width);
  const span = rotationSpan(input.width);
  const kernel = forKinds(context, (kind) =>
    builder.add(
      {
        name: 'quantize',
        bindings: norm ? 'uuwwr' : 'uuww',
        imports: { ...imports, ...codeImports(kind), row, rotation },
        constants: { ...constants, ...spread, BLOCKS: blocks },
      },
      [
        input.offset,
        input.stride,
        out.offset,
        out.stride,
        float(clipLow),
        float(clipHigh),
        first.offset,
        second.offset,
        float(norm?.epsilon ?? 0),
        filled.offset,
        span,
        float(1 / Math.sqrt(span)),
      ],
      [arenas.floats, arenas.codes, ...(norm ? [weights.vectors.get(norm.weight)!.buffer] : [])],
    ),
  );
  return {
    label: `${norm ? 'norm + ' : gate ? 'silu + ' : ''}${rotate ? 'rotate + ' : ''}codes ${input.width}`,
    weightBytes: norm ? input.width * 4 : 0,
    dispatch: (run) => ({ ...kernel(run.rows), x: 1, y: run.rows }),
  };
}

export function normStep(context: Context, operation: Of<'rmsNorm'>): Step {
  const { builder, arenas, imports, constants, weights } = context;
  const [input, out] = [place(context, operation.input), place(context, operation.out)];
  const kernel = builder.add(
    {
      name: 'norm',
      bindings: 'uuw-r',
      imports,
      constants: { ...constants, ...spreadRow(context, out.width).constants },
    },
    [out.offset, out.stride, input.offset, float(operation.epsilon)],
    [arenas.floats, null, weights.vectors.get(operation.weight)!.buffer],
  );
  return { label: `norm ${out.width}`, weightBytes: out.width * 4, dispatch: perRow(kernel) };
}

/** siluMul and add: a thread a value. */
export function elementStep(context: Context, operation: Of<'siluMul'> | Of<'add'>): Step {
  const { builder, arenas } = context;
  const out = place(context, operation.out);
  const [first, second] =
    operation.op === 'add' ? [operation.out, operation.input] : [operation.gate, operation.up];
  const kernel = builder.add(
    {
      name: 'elementwise',
      bindings: 'uuw',
      imports: { element: operation.op === 'add' ? 'element-add' : 'element-silu' },
    },
    [place(context, first).offset, place(context, second).offset, out.offset, out.stride, out.width],
    [arenas.floats],
  );
  return {
    label: `${operation.op} ${out.width}`,
    weightBytes: 0,
    dispatch: (run) => ({ ...kernel(), x: Math.ceil(out.width / 256), y: run.rows }),
  };
}

export function decodeStep(context: Context, operation: Of<'decodeActivations'>): Step {
  const { builder, arenas, imports } = context;
  const [input, out] = [place(context, operation.input), place(context, operation.out)];
  const kernel = forKinds(context, (kind) =>
    builder.add(
      { name: 'decode-codes', bindings: 'uuwr', imports: { ...imports, ...codeImports(kind) } },
      [input.offset, input.stride, out.offset, out.stride, out.width],
      [arenas.floats, arenas.codes],
    ),
  );
  return {
    label: `decode ${out.width}`,
    weightBytes: 0,
    dispatch: (run) => ({ ...kernel(run.rows), x: Math.ceil(out.width / 256), y: run.rows }),
  };
}

export function rotateStep(context: Context, operation: Of<'rotateInput'>): Step {
  const { builder, arenas } = context;
  const [input, out] = [place(context, operation.input), place(context, operation.out)];
  const span = rotationSpan(out.width);
  const kernel = builder.add(
    { name: 'rotate', bindings: 'uuw' },
    [input.offset, out.offset, out.stride, out.width, span, float(1 / Math.sqrt(span))],
    [arenas.floats],
  );
  return { label: `rotate ${out.width}`, weightBytes: 0, dispatch: perRow(kernel) };
}

export function takeStep(context: Context, operation: Of<'takeColumns'>): Step {
  const { builder, arenas, tableOffsets } = context;
  const [input, kept, taken] = [operation.input, operation.kept, operation.taken].map((slot) =>
    place(context, slot),
  ) as [SlotPlace, SlotPlace, SlotPlace];
  const count = operation.columns.length;
  const kernel = builder.add(
    { name: 'take-columns', bindings: 'uuwr' },
    [
      input.offset,
      kept.offset,
      kept.stride,
      kept.width,
      taken.offset,
      taken.stride,
      count,
      tableOffsets.get(operation.columns)!,
    ],
    [arenas.floats, arenas.tables],
  );
  return {
    label: `take ${count} of ${kept.width}`,
    weightBytes: 0,
    dispatch: (run) => ({ ...kernel(), x: Math.ceil(kept.width / 256), y: run.rows }),
  };
}

/** One rotary embedding, or two of the same head size. */
export function ropeStep(context: Context, first: Of<'rope'>, second: Of<'rope'> | null): Step {
  const { builder, arenas } = context;
  const [a, b] = [place(context, first.target), place(context, (second ?? first).target)];
  const heads = first.headCount + (second?.headCount ?? 0);
  const kernel = builder.add(
    { name: 'rope', bindings: 'uuwr' },
    [a.offset, a.stride, first.headCount, b.offset, b.stride, heads, first.headSize],
    [arenas.floats, arenas.angles],
  );
  const pairs = (heads * first.headSize) / 2;
  return {
    label: `rope ${heads}x${first.headSize}`,
    weightBytes: 0,
    dispatch: (run) => ({ ...kernel(), x: Math.ceil(pairs / 64), y: run.rows }),
  };
}

export function gramStep(context: Context, operation: Of<'accumulateGram'>): Step {
  const { builder, arenas } = context;
  const [left, right] = [place(context, operation.input), place(context, operation.other ?? operation.input)];
  const kernel = builder.add(
    { name: 'gram', bindings: 'uuww' },
    [left.offset, right.offset, left.stride, left.width, place(context, operation.out).offset],
    [arenas.floats, arenas.stats],
  );
  const tiles = Math.ceil(left.width / 16);
  return {
    label: `gram ${left.width}`,
    weightBytes: 0,
    dispatch: () => ({ ...kernel(), x: tiles, y: tiles }),
  };
}
