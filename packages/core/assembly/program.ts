// Runs a plan that the host has laid out in linear memory (layout.ts): `run` on the caller's thread, `serve` on the others.
import { decodeActivations, quantizeActivations } from './activations';
import { attention, cacheRows } from './attention';
import { denseMatMul, embedF32 } from './dense';
import { add, rmsNorm, rope, siluMul, takeColumns } from './elementwise';
import { accumulateGram } from './gram';
import { embedInt4, embedInt8, int4MatMul, int8MatMul, roundRows } from './integer-dense';
import { Control, Kind, Phase, PHASE_BYTES, Step, STEP_BYTES } from './layout';
import { advance, claim, control, finishUnit, isDone, waitFor } from './pool';
import { rotateInput } from './rotate';
import { w11MatMul } from './w11';

/** What one thread knows of the run that it takes part in. */
let rows: u32 = 0;
let position: u32 = 0;
let logitRows: u32 = 0;
let scratch: usize = 0;

/** The rows first <= row < end of a row-by-row step. */
function runRows(s: Step, first: u32, end: u32): void {
  if (s.logits) first = max<u32>(first, rows - logitRows);
  if (first >= end) return;
  const count = end - first;
  const input = s.input + first * s.inputStride, out = s.out + first * s.outStride;
  switch (s.kind) {
    case Kind.EmbedF32: return embedF32(input, s.weight, out, s.outStride, count);
    case Kind.EmbedInt8: return embedInt8(input, s.weight, s.scales, out, s.outStride, count, s.width, s.groupSize);
    case Kind.EmbedInt4: return embedInt4(input, s.weight, s.scales, out, s.outStride, count, s.width, s.groupSize);
    case Kind.RmsNorm: return rmsNorm(input, s.weight, out, s.inputStride, count, s.width, s.x);
    case Kind.Quantize:
      return quantizeActivations(
        input, s.inputStride, out, s.outStride, s.sums + first * s.sumStride, s.sumStride, s.params + (first << 3),
        count, s.width, s.x, s.y,
      );
    case Kind.RoundRows: return roundRows(input, s.inputStride, out, s.outStride, count, s.width, s.groupSize);
    case Kind.Rope: return rope(out, s.outStride, s.second + first * s.secondStride, count, s.headCount, s.headSize);
    case Kind.CacheRows: {
      const at = position + first, headBytes = s.headSize << 2;
      const value = s.second + first * s.secondStride;
      cacheRows(input, s.inputStride, s.third, count, at, s.kvHeadCount, headBytes, s.size, s.capacity);
      return cacheRows(value, s.secondStride, s.out, count, at, s.kvHeadCount, headBytes, s.size, s.capacity);
    }
    case Kind.SiluMul: return siluMul(input, s.second + first * s.secondStride, out, count * s.outStride);
    case Kind.Decode: return decodeActivations(input, s.inputStride, s.params + (first << 3), out, s.outStride, count, s.width);
    case Kind.Rotate:
      return rotateInput(input, s.inputStride, s.weight, out, s.outStride, count, s.width, s.size, s.x);
    case Kind.TakeColumns: {
      const taken = s.third + first * s.thirdStride;
      return takeColumns(
        input, s.inputStride, s.weight, s.size, out, s.outStride, taken, s.thirdStride, count, s.width,
      );
    }
    case Kind.Add: return add(input, out, count * s.outStride);
  }
}

/** The tiles first <= tile < end of a product. */
function runTiles(s: Step, first: u32, end: u32): void {
  const count = s.logits ? logitRows : rows;
  if (first >= end || count == 0) return;
  const skipped = rows - count, input = s.input + skipped * s.inputStride;
  const firstOutput = first << 2, endOutput = min<u32>(end << 2, s.outputs);
  switch (s.kind) {
    case Kind.W11:
      return w11MatMul(
        s.weight, s.scales, input, s.inputStride, s.sums, s.sumStride, s.params, scratch, s.out, s.outStride,
        count, s.outputs, first, end, s.groups, s.unitsPerGroup, s.lastUnits,
      );
    case Kind.Dense:
      return denseMatMul(input, s.inputStride, s.weight, s.inputStride, s.out, s.outStride, count, firstOutput, endOutput);
    case Kind.Int8:
      return int8MatMul(
        input, s.inputStride, s.weight, s.scales, s.out, s.outStride, count, s.width, s.groupSize, firstOutput, endOutput,
      );
    case Kind.Int4:
      return int4MatMul(
        input, s.inputStride, s.weight, s.scales, s.out, s.outStride, count, s.width, s.groupSize, firstOutput, endOutput,
      );
  }
}

@inline function isByRow(s: Step): bool {
  return s.kind <= Kind.Add;
}

@inline function isProduct(s: Step): bool {
  return s.kind >= Kind.W11 && s.kind <= Kind.Int4;
}

/** Size of a share when `total` is to be dealt out: a few for each thread, so that a slow one holds little. */
@inline function shareOf(total: u32, threads: u32): u32 {
  const shares = threads == 1 ? 1 : 4 * threads;
  return max<u32>(1, (total + shares - 1) / shares);
}

/** What a phase deals out in this run: rows, blocks of queries, or tiles and strips. */
function countItems(phase: Phase): u32 {
  const s = changetype<Step>(phase.first);
  if (isByRow(s)) return rows;
  if (s.kind == Kind.Attention) return s.kvHeadCount * ((rows * (s.headCount / s.kvHeadCount) + 3) >> 2);
  return phase.total;
}

/** Does the items first <= item < end of a phase. */
function runItems(phase: Phase, first: u32, end: u32): void {
  for (let at = phase.first; at < phase.end; at += STEP_BYTES) {
    const s = changetype<Step>(at);
    if (isByRow(s)) {
      runRows(s, first, end);
    } else if (isProduct(s)) {
      // Either may lie before the step's own tiles.
      runTiles(s, max<u32>(first, s.base) - s.base, min<u32>(max<u32>(end, s.base) - s.base, s.units));
    } else if (s.kind == Kind.Gram) {
      accumulateGram(s.input, s.inputStride, s.second, s.secondStride, rows, s.width, s.out, scratch, first, end);
    } else {
      attention(
        s.input, s.inputStride, s.second, s.third, s.out, s.outStride, scratch, rows, position,
        s.headCount / s.kvHeadCount, s.headSize, s.size, s.capacity, s.window, s.x, first, end,
      );
    }
  }
}

/** Takes part in run number `run`; false when a unit of it was lost. */
function work(c: Control, run: u64): bool {
  const last = c.phases + <usize>c.phaseCount * PHASE_BYTES;
  for (let at = c.phases; at < last; at += PHASE_BYTES) {
    const phase = changetype<Phase>(at), items = countItems(phase);
    if (c.threads == 1) {
      runItems(phase, 0, items);
      continue;
    }
    const share = shareOf(items, c.threads), count = (items + share - 1) / share;
    while (true) {
      const unit = claim(phase, run, count);
      if (unit == -1) break;
      if (unit < 0) return true;
      const first = <u32>unit * share;
      runItems(phase, first, min<u32>(items, first + share));
      if (finishUnit(phase, run, count)) advance(ended());
    }
    while (true) {
      const seen = atomic.load<u32>(ended()), done = isDone(phase, run, count);
      if (done == 1) break;
      if (done < 0) return true;
      if (!waitFor(ended(), seen)) return false;
    }
  }
  return true;
}

@inline function ended(): usize {
  return changetype<usize>(control()) + offsetof<Control>('ended');
}

@inline function turn(): usize {
  return changetype<usize>(control()) + offsetof<Control>('turn');
}

/** One forward pass of `newRows` rows; the last `newLogitRows` of them go through `logits` steps. False when a thread died. */
export function run(newRows: u32, newPosition: u32, newLogitRows: u32): bool {
  const c = control();
  rows = newRows;
  position = newPosition;
  logitRows = newLogitRows;
  scratch = c.scratch;
  if (c.threads == 1) return work(c, 0);
  c.rows = newRows;
  c.position = newPosition;
  c.logitRows = newLogitRows;
  c.runs += 1;
  advance(turn());
  const whole = work(c, c.runs);
  advance(turn());
  return whole;
}

/** Helps with runs as thread number `thread`, 1 or more, until the host asks to leave. */
export function serve(thread: u32): void {
  const c = control();
  scratch = c.scratch + thread * c.scratchStride;
  while (true) {
    const seen = atomic.load<u32>(turn());
    if (atomic.load<u32>(changetype<usize>(c) + offsetof<Control>('leaving')) != 0) return;
    if (seen % 2 == 0) {
      rows = c.rows;
      position = c.position;
      logitRows = c.logitRows;
      const run = c.runs;
      // What was read belongs together only if no other run was begun meanwhile.
      if (atomic.load<u32>(turn()) == seen && !work(c, run)) return;
    }
    waitFor(turn(), seen);
  }
}
