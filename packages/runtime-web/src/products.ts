// Steps of matrix products: W(1+1) on codes and on f32, dense and integer weights, embeddings.
import type { Operation } from '@duobit/core';
import { bindSlot, type Context, codeImports } from './context.ts';
import type { CodeKind, SlotPlace } from './slots.ts';
import type { Step } from './steps.ts';
import { spreadMatvec, spreadStream, tileFrom } from './tuning.ts';
import type { DenseWeight, W11Weight } from './weights.ts';

type Of<K extends Operation['op']> = Extract<Operation, { readonly op: K }>;

const TILE = 64;
/** In place of a slot that nothing is added to, and of a row that no matrix begins at. */
const NONE = 0xffff_ffff;

function levelsImport({ offsets }: W11Weight): Record<string, string> {
  return { 'w11-levels': offsets ? 'w11-levels-pairs' : 'w11-levels-symmetric' };
}

function w11Bytes({ bits, levels, rowSums }: W11Weight): number {
  return bits.size + levels.size + rowSums.size;
}

/** Up to three products of one slot of codes, held as one matrix; the result of a single one may be added to a slot. */
export function w11Step(context: Context, products: readonly Of<'w11MatMul'>[], sum: SlotPlace | null): Step {
  const { builder, layout, arenas, imports, constants, tuning, plan } = context;
  const first = products[0]!;
  const weight = context.weights.w11.get(first.weight)!;
  const input = layout.places.get(first.input)!;
  const outs = products.map(({ out }) => layout.places.get(out)!);
  const { rows, chunks, groups, groupWords } = weight;
  const endFirst = products.length > 1 ? plan.slots[first.out]!.width : NONE;
  const endSecond = products.length > 2 ? endFirst + plan.slots[products[1]!.out]!.width : NONE;
  const place = (i: number) => outs[i] ?? outs[0]!;
  const parameters = [
    rows,
    chunks,
    groups,
    input.offset / 4,
    input.stride / 4,
    rows * chunks,
    endFirst,
    endSecond,
    place(0).offset,
    place(1).offset,
    place(2).offset,
    place(0).stride,
    place(1).stride,
    place(2).stride,
    sum ? sum.offset : NONE,
  ];
  const bindings = [arenas.floats, arenas.codes, weight.bits, weight.levels, weight.rowSums];
  const choice = { bindings: 'uuwrrrr' };
  const importsOf = (kind: CodeKind) => ({ ...imports, ...codeImports(kind), ...levelsImport(weight) });
  const stream = spreadStream(rows, chunks, context.subgroupSize, tuning);
  const spread = spreadMatvec(rows, chunks, tuning, 4);
  const { workgroup, lanes } = stream ?? spread;
  const matvec = builder.add(
    {
      ...choice,
      name: stream ? 'w11-stream' : 'w11-matvec',
      imports: importsOf(context.products.rows),
      constants: {
        ...constants,
        WORKGROUP: workgroup,
        LANES: lanes,
        ROWS: stream ? 4 : spread.rows,
        GROUP_WORDS: groupWords,
      },
    },
    parameters,
    bindings,
  );
  const matmul =
    context.options.maxRows >= tileFrom(tuning)
      ? builder.add(
          {
            ...choice,
            name: 'w11-matmul',
            imports: importsOf(context.products.tiles),
            constants: { ...constants, GROUP_WORDS: groupWords },
          },
          parameters,
          bindings,
        )
      : null;
  return {
    label: `w11 ${rows}x${weight.columns}${sum ? ' + add' : ''}`,
    weightBytes: w11Bytes(weight),
    dispatch: (run) =>
      matmul && run.rows >= tileFrom(tuning)
        ? { ...matmul(), x: Math.ceil(rows / TILE), y: Math.ceil(run.rows / TILE) }
        : { ...matvec(), x: (stream ?? spread).count, y: run.rows },
  };
}

export function w11FloatStep(context: Context, operation: Of<'w11MatMul'>): Step {
  const { builder, layout, imports, constants, tuning } = context;
  const weight = context.weights.w11.get(operation.weight)!;
  const [input, out] = [layout.places.get(operation.input)!, layout.places.get(operation.out)!];
  const { rows, columns, chunks, groups, groupWords } = weight;
  const spread = spreadMatvec(rows, Math.ceil(columns / 32), { ...tuning, rows: 1 }, 1);
  const kernel = builder.add(
    {
      name: 'w11-float',
      bindings: 'uuwwrr',
      imports: { ...imports, ...levelsImport(weight) },
      constants: { ...constants, WORKGROUP: spread.workgroup, LANES: spread.lanes, GROUP_WORDS: groupWords },
    },
    [rows, chunks, groups, rows * chunks, input.stride / 4, out.stride, columns],
    [bindSlot(context, input), bindSlot(context, out), weight.bits, weight.levels],
  );
  return {
    label: `w11-float ${rows}x${columns}`,
    weightBytes: w11Bytes(weight),
    dispatch: (run) => ({ ...kernel(), x: spread.count, y: run.rows }),
  };
}

function denseBytes({ weights, scales }: DenseWeight): number {
  return weights.size + (scales?.size ?? 0);
}

/** A product with dense or integer weights, of all rows of a run or of those that logits are asked of. */
export function denseStep(context: Context, operation: Of<'denseMatMul'> | Of<'logits'>): Step {
  const { builder, layout, imports, constants, tuning } = context;
  const weight = context.weights.dense.get(operation.weight)!;
  const [input, out] = [layout.places.get(operation.input)!, layout.places.get(operation.out)!];
  const { rows, columns, chunks, groups, groupSize, encoding } = weight;
  const isLogits = operation.op === 'logits';
  const parameters = [rows, chunks, groups, groupSize, input.stride / 4, out.stride, isLogits ? 1 : 0];
  const bindings = [bindSlot(context, input), bindSlot(context, out), weight.weights, weight.scales];
  const choice = {
    bindings: weight.scales ? 'uuwwrr' : 'uuwwr-',
    imports: { ...imports, dense: `dense-${encoding}` },
  };
  const spread = spreadMatvec(rows, chunks, tuning, 4);
  const matvec = builder.add(
    {
      ...choice,
      name: 'dense-matvec',
      constants: { ...constants, WORKGROUP: spread.workgroup, LANES: spread.lanes, ROWS: spread.rows },
    },
    parameters,
    bindings,
  );
  const matmul =
    context.options.maxRows >= tileFrom(tuning)
      ? builder.add({ ...choice, name: 'dense-matmul', constants }, parameters, bindings)
      : null;
  return {
    label: `${operation.op} ${encoding} ${rows}x${columns}`,
    weightBytes: denseBytes(weight),
    dispatch: (run) => {
      const count = isLogits ? run.logitRows : run.rows;
      if (count === 0) return null;
      return matmul && count >= tileFrom(tuning)
        ? { ...matmul(), x: Math.ceil(rows / TILE), y: Math.ceil(count / TILE) }
        : { ...matvec(), x: spread.count, y: count };
    },
  };
}

export function embedStep(context: Context, operation: Of<'embed'>): Step {
  const { builder, layout, arenas, imports } = context;
  const weight = context.weights.dense.get(operation.weight)!;
  const [input, out] = [layout.places.get(operation.input)!, layout.places.get(operation.out)!];
  const { chunks, groups, groupSize, columns, encoding } = weight;
  const kernel = builder.add(
    {
      name: 'embed',
      bindings: weight.scales ? 'uuwrrr' : 'uuwrr-',
      imports: { ...imports, dense: `dense-${encoding}` },
    },
    [input.offset, out.offset, out.stride, columns, chunks, groups, groupSize],
    [arenas.floats, arenas.codes, weight.weights, weight.scales],
  );
  return {
    label: `embed ${encoding}`,
    // One row of it.
    weightBytes: Math.ceil(denseBytes(weight) / weight.rows),
    dispatch: (run) => ({ ...kernel(), x: Math.ceil(columns / 4 / 64), y: run.rows }),
  };
}
