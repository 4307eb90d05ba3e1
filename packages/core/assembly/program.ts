// Runs a plan that the host has laid out in linear memory (layout.ts): `run` on the caller's thread, `serve` on the others.
import { decodeActivations, quantizeActivations } from './activations';
import { attention, attentionUnits, cacheRow } from './attention';
import { denseMatMul, embedF32 } from './dense';
import { add, rmsNorm, rope, siluMul, takeColumns } from './elementwise';
import { accumulateGram } from './gram';
import { embedInt4, embedInt8, int4MatMul, int8MatMul, roundRows } from './integer-dense';
import { Control, ENTRY_BYTES, Kind, Phase, PHASE_BYTES, Place, RowRange, Step, STEP_BYTES } from './layout';
import { advance, claim, control, finishUnit, isDone, waitFor } from './pool';
import { rotateInput } from './rotate';
import { w11MatMul } from './w11';

/** What one thread knows of the run that it takes part in. */
let rows: u32 = 0;
let partCount: u32 = 0;
let wantedCount: u32 = 0;
let scratch: usize = 0;

@inline function placeOf(row: u32): Place {
  return changetype<Place>(control().places + <usize>row * ENTRY_BYTES);
}

@inline function partAt(index: u32): RowRange {
  return changetype<RowRange>(control().parts + <usize>index * ENTRY_BYTES);
}

@inline function wantedAt(index: u32): RowRange {
  return changetype<RowRange>(control().wanted + <usize>index * ENTRY_BYTES);
}

/** The rows first <= row < end of a row-by-row step. */
function runRows(s: Step, first: u32, end: u32): void {
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
      const headBytes = s.headSize << 2;
      for (let row = first; row < end; ++row) {
        const at = placeOf(row), key = s.input + row * s.inputStride, value = s.second + row * s.secondStride;
        cacheRow(key, s.third, at.sequence, at.position, s.kvHeadCount, headBytes, s.size, s.capacity);
        cacheRow(value, s.out, at.sequence, at.position, s.kvHeadCount, headBytes, s.size, s.capacity);
      }
      return;
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

/** The tiles first <= tile < end of a product, of `count` rows from `row` on; `out` is the first row of the result. */
function runTiles(s: Step, first: u32, end: u32, row: u32, count: u32, out: usize): void {
  if (first >= end) return;
  const input = s.input + row * s.inputStride;
  const firstOutput = first << 2, endOutput = min<u32>(end << 2, s.outputs);
  switch (s.kind) {
    case Kind.W11:
      return w11MatMul(
        s.weight, s.scales, input, s.inputStride, s.sums, s.sumStride, s.params, scratch, out, s.outStride,
        count, s.outputs, first, end, s.groups, s.unitsPerGroup, s.lastUnits,
      );
    case Kind.Dense:
      return denseMatMul(input, s.inputStride, s.weight, s.inputStride, out, s.outStride, count, firstOutput, endOutput);
    case Kind.Int8:
      return int8MatMul(
        input, s.inputStride, s.weight, s.scales, out, s.outStride, count, s.width, s.groupSize, firstOutput, endOutput,
      );
    case Kind.Int4:
      return int4MatMul(
        input, s.inputStride, s.weight, s.scales, out, s.outStride, count, s.width, s.groupSize, firstOutput, endOutput,
      );
  }
}

/** Of a step of logits, as runRows and runTiles. */
function runWantedRows(s: Step, first: u32, end: u32): void {
  for (let i: u32 = 0; i < wantedCount; ++i) {
    const range = wantedAt(i);
    runRows(s, max<u32>(first, range.first), min<u32>(end, range.first + range.count));
  }
}

function runWantedTiles(s: Step, first: u32, end: u32): void {
  let out = s.out;
  for (let i: u32 = 0; i < wantedCount; ++i) {
    const range = wantedAt(i);
    runTiles(s, first, end, range.first, range.count, out);
    out += range.count * s.outStride;
  }
}

/** Unit `unit` of attention: of a kv head, a block of the queries of one part. There may be more units than blocks. */
function runAttention(s: Step, unit: u32, units: u32): void {
  const head = unit / units, group = s.headCount / s.kvHeadCount;
  let block = unit % units;
  for (let i: u32 = 0; i < partCount; ++i) {
    const part = partAt(i), blocks = attentionUnits(part.count, group);
    if (block >= blocks) {
      block -= blocks;
      continue;
    }
    const at = placeOf(part.first), plane = <usize>((at.sequence * s.kvHeadCount + head) * s.capacity) * (s.size << 2);
    const offset = head * group * (s.headSize << 2);
    return attention(
      s.input + part.first * s.inputStride + offset, s.inputStride, s.second + plane, s.third + plane,
      s.out + part.first * s.outStride + offset, s.outStride, scratch,
      part.count, at.position, group, s.headSize, s.size, s.window, s.x, block,
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
  if (s.kind == Kind.Attention) return s.kvHeadCount * countUnits(s);
  return phase.total;
}

/** Units of attention for a kv head: no fewer than the blocks of all parts, of which each may end with a short one. */
@inline function countUnits(s: Step): u32 {
  return attentionUnits(rows, s.headCount / s.kvHeadCount) + partCount - 1;
}

/** Does the items first <= item < end of a phase. */
function runItems(phase: Phase, first: u32, end: u32): void {
  for (let at = phase.first; at < phase.end; at += STEP_BYTES) {
    const s = changetype<Step>(at);
    if (isByRow(s)) {
      if (s.logits) runWantedRows(s, first, end);
      else runRows(s, first, end);
    } else if (isProduct(s)) {
      // Either may lie before the step's own tiles.
      const from = max<u32>(first, s.base) - s.base, to = min<u32>(max<u32>(end, s.base) - s.base, s.units);
      if (s.logits) runWantedTiles(s, from, to);
      else runTiles(s, from, to, 0, rows, s.out);
    } else if (s.kind == Kind.Gram) {
      accumulateGram(s.input, s.inputStride, s.second, s.secondStride, rows, s.width, s.out, scratch, first, end);
    } else {
      for (let unit = first; unit < end; ++unit) runAttention(s, unit, countUnits(s));
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

/** One forward pass of rows that the host's tables say more about. False when a thread died. */
export function run(newRows: u32, newParts: u32, newWanted: u32): bool {
  const c = control();
  rows = newRows;
  partCount = newParts;
  wantedCount = newWanted;
  scratch = c.scratch;
  if (c.threads == 1) return work(c, 0);
  c.rows = newRows;
  c.partCount = newParts;
  c.wantedCount = newWanted;
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
      partCount = c.partCount;
      wantedCount = c.wantedCount;
      const run = c.runs;
      // What was read belongs together only if no other run was begun meanwhile.
      if (atomic.load<u32>(turn()) == seen && !work(c, run)) return;
    }
    waitFor(turn(), seen);
  }
}
