// Writes steps and phases into linear memory as assembly/layout.ts reads them.
import type { Heap } from './heap.ts';

/** assembly/layout.ts, namespace Kind. */
const KINDS = [
  'embedF32',
  'embedInt8',
  'embedInt4',
  'rmsNorm',
  'quantize',
  'roundRows',
  'rope',
  'cacheRows',
  'siluMul',
  'decode',
  'rotate',
  'takeColumns',
  'add',
  'w11',
  'dense',
  'int8',
  'int4',
  'attention',
  'gram',
] as const;

type StepKind = (typeof KINDS)[number];

const LAST_BY_ROW = KINDS.indexOf('add');
const LAST_PRODUCT = KINDS.indexOf('int4');

/** Fields of a step behind its kind, logits, units and base: assembly/layout.ts, class Step. */
const FIELDS = [
  'input',
  'inputStride',
  'second',
  'secondStride',
  'third',
  'thirdStride',
  'out',
  'outStride',
  'weight',
  'scales',
  'params',
  'sums',
  'sumStride',
  'width',
  'outputs',
  'groupSize',
  'groups',
  'unitsPerGroup',
  'lastUnits',
  'headCount',
  'kvHeadCount',
  'headSize',
  'size',
  'capacity',
  'window',
] as const;
/** Behind them, as f32. */
const FLOAT_FIELDS = ['x', 'y'] as const;

/** Which fields a kind uses, assembly/program.ts says. */
export type Step = {
  readonly kind: StepKind;
  /** Only the rows that the run asks logits for take part. */
  readonly logits?: boolean;
  /** Tiles of a product or strips of sums, which threads share out. */
  readonly units?: number;
} & { readonly [Field in (typeof FIELDS)[number] | (typeof FLOAT_FIELDS)[number]]?: number };

function isByRow({ kind }: Step): boolean {
  return KINDS.indexOf(kind) <= LAST_BY_ROW;
}

function isProduct(step: Step): boolean {
  return !isByRow(step) && KINDS.indexOf(step.kind) <= LAST_PRODUCT;
}

/** Parts steps into phases. Row-by-row steps in a row share one: a row stays with the thread that took it. */
function arrangePhases(steps: readonly Step[]): Step[][] {
  const phases: Step[][] = [];
  for (const step of steps) {
    const phase = phases.at(-1);
    const joins =
      phase !== undefined &&
      (isByRow(step)
        ? isByRow(phase[0]!)
        : isProduct(step) && isProduct(phase[0]!) && phase.every((other) => areIndependent(step, other)));
    if (joins) phase.push(step);
    else phases.push([step]);
  }
  return phases;
}

/** Products that write to different places, none to what the other reads, of the same rows. */
function areIndependent(a: Step, b: Step): boolean {
  return a.out !== b.out && a.out !== b.input && b.out !== a.input && a.logits === b.logits;
}

const STEP_BYTES = 128;
const PHASE_BYTES = 128;

/** Words of the control block at address 64: assembly/layout.ts, class Control. */
const CONTROL_WORD = 64 / 4;
export const LEAVING_WORD = CONTROL_WORD + 8;
const TABLES_WORD = CONTROL_WORD + 12;
export const TURN_WORD = CONTROL_WORD + 16;

interface ThreadScratch {
  readonly threads: number;
  readonly pointer: number;
  /** Bytes a thread. */
  readonly stride: number;
}

/** Tables that the host fills before each run: sequence and position of each row; first row and count of parts, and of rows wanted. */
export interface RunTables {
  readonly places: number;
  readonly parts: number;
  readonly wanted: number;
}

/** Bytes of an entry of these. */
const ENTRY_BYTES = 8;

export function allocateRunTables(heap: Heap, maxRows: number): RunTables {
  const take = () => heap.allocate(maxRows * ENTRY_BYTES, 'tables of a run');
  return { places: take(), parts: take(), wanted: take() };
}

/** Writes the table and the control block. */
export function writeTable(
  heap: Heap,
  steps: readonly Step[],
  scratch: ThreadScratch,
  tables: RunTables,
): void {
  const phases = arrangePhases(steps);
  const stepsAt = heap.allocate(steps.length * STEP_BYTES, 'the plan');
  const phasesAt = heap.allocate(phases.length * PHASE_BYTES, 'the plan');
  let at = stepsAt;
  phases.forEach((phase, index) => {
    const first = at;
    let total = 0;
    for (const step of phase) {
      const { kind, logits = false, units = 0 } = step;
      const words = heap.integers(at, STEP_BYTES / 4);
      words.set([KINDS.indexOf(kind), logits ? 1 : 0, units, total]);
      words.set(
        FIELDS.map((field) => step[field] ?? 0),
        4,
      );
      heap.floats(at + (4 + FIELDS.length) * 4, 2).set(FLOAT_FIELDS.map((field) => step[field] ?? 0));
      total += units;
      at += STEP_BYTES;
    }
    heap.integers(phasesAt + index * PHASE_BYTES, 3).set([first, at, total]);
  });
  const { threads, pointer, stride } = scratch;
  heap.integers(CONTROL_WORD * 4, 5).set([phasesAt, phases.length, threads, pointer, stride]);
  heap.integers(TABLES_WORD * 4, 3).set([tables.places, tables.parts, tables.wanted]);
  // Odd: no run is open.
  heap.integers(TURN_WORD * 4, 1)[0] = 1;
}
