// Checks that every backend makes: of a plan and its weights when it is prepared, of a request when it runs. A plan that
// passed here needs no further checks inside the kernels.
import { DuobitError, type TensorData } from '@duobit/format';
import { type ActivationRefinement, MOST_TOP, type PrepareOptions, type RunRequest } from '../backend.ts';
import type { ExecutionPlan, Operation, Slot } from '../plan.ts';
import { listParts, type RunRows } from './run-rows.ts';

type WeightFacts = Pick<TensorData['info'], 'shape' | 'encoding'>;

function planInvalid(message: string, where: string): DuobitError {
  return new DuobitError('PLAN_INVALID', message, { where, remedy: 'Build the plan with buildPlan' });
}

function optionInvalid(message: string, where: string, remedy: string): DuobitError {
  return new DuobitError('BACKEND_OPTION', message, { where, remedy });
}

function runInvalid(message: string, where: string, remedy: string): DuobitError {
  return new DuobitError('RUN_INVALID', message, { where, remedy });
}

/**
 * @param maxSequences `Backend.maxSequences`
 * @throws DuobitError `BACKEND_OPTION` when capacity, maxRows or sequences is not a positive whole number, or there are more sequences
 * than the backend can have.
 */
export function checkPrepareOptions(options: PrepareOptions, maxSequences = 1): void {
  const { capacity, maxRows, sequences = 1 } = options;
  for (const [field, value] of Object.entries({ capacity, maxRows, sequences }))
    if (!Number.isSafeInteger(value) || value < 1)
      throw optionInvalid(
        `${field} is ${value}; it must be a positive whole number`,
        field,
        'Give a positive whole number',
      );
  if (sequences > maxSequences)
    throw optionInvalid(
      `${sequences} sequences were asked for; this backend has at most ${maxSequences}`,
      'sequences',
      'Prepare fewer, or on another backend',
    );
}

/**
 * Checks slots, kinds and widths of all operations, and the shapes and encodings of their weights.
 * @param weightOf facts of a weight; called once an operation that has one.
 * @param refinements those of activation quantizers that the backend runs
 * @throws DuobitError `PLAN_INVALID`
 */
export function checkPlan(
  plan: ExecutionPlan,
  weightOf: (name: string) => WeightFacts,
  refinements: readonly ActivationRefinement[] = [],
): void {
  for (const [name, slot] of Object.entries(plan.slots))
    if (!Number.isSafeInteger(slot.width) || slot.width < 1 || (slot.kind === 'tokens' && slot.width !== 1))
      throw planInvalid(`slot "${name}" of kind '${slot.kind}' has width ${slot.width}`, name);
  const sums = new Set<string>();
  for (const operation of plan.operations) {
    checkOperation(plan, operation, weightOf, refinements);
    if (operation.op !== 'accumulateGram') continue;
    // Of a symmetric matrix only a triangle is kept up, which another operation's sums would not fit.
    if (sums.has(operation.out))
      throw planInvalid(`two operations add to slot "${operation.out}"`, operation.out);
    sums.add(operation.out);
  }
}

function checkOperation(
  plan: ExecutionPlan,
  operation: Operation,
  weightOf: (name: string) => WeightFacts,
  refinements: readonly string[],
): void {
  const { op } = operation;
  const width = (name: string, kinds: readonly Slot['kind'][], expected?: number): number => {
    const slot = Object.hasOwn(plan.slots, name) ? plan.slots[name] : undefined;
    if (!slot) throw planInvalid(`${op} uses slot "${name}", which the plan does not declare`, name);
    if (!kinds.includes(slot.kind))
      throw planInvalid(
        `${op} needs slot "${name}" to be '${kinds.join("' or '")}'; it is '${slot.kind}'`,
        name,
      );
    if (expected !== undefined && slot.width !== expected)
      throw planInvalid(`${op} needs slot "${name}" ${expected} wide; it is ${slot.width} wide`, name);
    return slot.width;
  };
  const weight = (name: string, kinds: readonly string[], expected: readonly number[]): void => {
    const { shape, encoding } = weightOf(name);
    if (shape.length !== expected.length || shape.some((size, axis) => size !== expected[axis]))
      throw planInvalid(
        `${op} needs "${name}" of shape [${expected.join(', ')}]; it is [${shape.join(', ')}]`,
        name,
      );
    if (!kinds.includes(encoding.kind))
      throw planInvalid(`${op} cannot use "${name}", which is encoded as "${encoding.kind}"`, name);
  };
  switch (operation.op) {
    case 'embed': {
      width(operation.input, ['tokens']);
      const { shape } = weightOf(operation.weight);
      weight(operation.weight, MATRICES, [shape[0] ?? 0, width(operation.out, ['f32'])]);
      break;
    }
    case 'rmsNorm': {
      const size = width(operation.input, ['f32']);
      weight(operation.weight, DENSE, [width(operation.out, ['f32'], size)]);
      break;
    }
    case 'takeColumns': {
      const { input, columns, kept, taken } = operation;
      const size = width(input, ['f32']);
      width(kept, ['f32'], size);
      width(taken, ['f32'], columns.length);
      if (new Set([input, kept, taken]).size < 3) throw planInvalid(`${op} needs three slots`, kept);
      // Kernels read and write where these numbers say.
      if (!columns.every((k, c) => Number.isInteger(k) && k < size && k > (c === 0 ? -1 : columns[c - 1]!)))
        throw planInvalid(`${op} has columns that do not ascend, or are not of "${input}"`, input);
      break;
    }
    case 'rotateInput':
      width(operation.out, ['f32'], width(operation.input, ['f32']));
      break;
    case 'quantizeActivations': {
      const { bits, clipLow, clipHigh } = operation.quantizer;
      if (bits !== 4 || !Number.isFinite(clipLow) || !Number.isFinite(clipHigh))
        throw planInvalid(
          `activation quantizer has ${bits} bits, clips ${clipLow} and ${clipHigh}`,
          operation.out,
        );
      // A refinement that the format knows and no kernel here does (a knee, plane scales) must not be ignored.
      for (const [field, value] of Object.entries(operation.quantizer))
        if (![...QUANTIZER_FIELDS, ...refinements].includes(field) && value !== null && value !== undefined)
          throw planInvalid(
            `activation quantizer uses "${field}", which this backend does not run`,
            operation.out,
          );
      width(operation.out, ['a4'], width(operation.input, ['f32']));
      break;
    }
    case 'decodeActivations':
      width(operation.out, ['f32'], width(operation.input, ['a4']));
      break;
    case 'w11MatMul':
      weight(operation.weight, W11, [width(operation.out, ['f32']), width(operation.input, ['a4', 'f32'])]);
      break;
    case 'denseMatMul':
    case 'logits':
      weight(operation.weight, MATRICES, [width(operation.out, ['f32']), width(operation.input, ['f32'])]);
      break;
    case 'rope': {
      const { headCount, headSize } = operation;
      width(operation.target, ['f32'], headCount * headSize);
      if (plan.ropeFrequencies.length * 2 !== headSize)
        throw planInvalid(
          `rope turns heads of ${headSize}; the plan has ${plan.ropeFrequencies.length} frequencies`,
          operation.target,
        );
      break;
    }
    case 'attention': {
      const { headCount, kvHeadCount, headSize } = operation.heads;
      width(operation.query, ['f32'], headCount * headSize);
      width(operation.key, ['f32'], kvHeadCount * headSize);
      width(operation.value, ['f32'], kvHeadCount * headSize);
      width(operation.out, ['f32'], headCount * headSize);
      if (
        headCount % kvHeadCount !== 0 ||
        kvHeadCount !== plan.heads.kvHeadCount ||
        headSize !== plan.heads.headSize
      )
        throw planInvalid(`attention has heads that do not fit the plan's cache`, operation.out);
      if (!(Number.isInteger(operation.layer) && operation.layer >= 0 && operation.layer < plan.cacheLayers))
        throw planInvalid(`attention uses layer ${operation.layer} of ${plan.cacheLayers}`, operation.out);
      if (operation.window !== null && !(Number.isInteger(operation.window) && operation.window > 0))
        throw planInvalid(`attention window is ${operation.window}`, operation.out);
      break;
    }
    case 'siluMul': {
      const size = width(operation.out, ['f32']);
      width(operation.gate, ['f32'], size);
      width(operation.up, ['f32'], size);
      break;
    }
    case 'add':
      width(operation.input, ['f32'], width(operation.out, ['f32']));
      break;
    case 'accumulateGram': {
      const size = width(operation.input, ['f32']);
      if (operation.other !== null) width(operation.other, ['f32'], size);
      width(operation.out, ['stat'], size * size);
      break;
    }
    default:
      throw planInvalid(`operation "${op}" is not known`, op);
  }
}

const DENSE = ['f32', 'f16', 'bf16'];
const MATRICES = [...DENSE, 'int8', 'int4'];
const W11 = ['w11'];
const QUANTIZER_FIELDS = ['bits', 'clipLow', 'clipHigh'];

/**
 * Checks a request against what was prepared.
 * @returns its parts and how many rows they have
 * @throws DuobitError `RUN_INVALID`
 */
export function checkRun(request: RunRequest, options: PrepareOptions): RunRows {
  const { maxRows, capacity, sequences = 1 } = options;
  const run = listParts(request);
  const used = new Set<number>();
  for (const { sequence, rows, position } of run.parts) {
    if (!Number.isInteger(rows) || rows < 1 || run.rows > maxRows)
      throw runInvalid(
        `a run of ${run.parts.map((part) => part.rows).join(' + ')} rows was asked for; 1 to ${maxRows} were prepared`,
        'rows',
        'Run fewer rows',
      );
    if (!Number.isInteger(position) || position < 0 || position + rows > capacity)
      throw runInvalid(
        `positions ${position} to ${position + rows - 1} were asked for; the cache holds 0 to ${capacity - 1}`,
        'position',
        'Prepare a larger capacity, or run fewer tokens',
      );
    if (!Number.isInteger(sequence) || sequence < 0 || sequence >= sequences)
      throw runInvalid(
        `sequence ${sequence} was asked for; there are 0 to ${sequences - 1}`,
        'sequence',
        'Prepare more sequences, on a backend that has them',
      );
    if (used.has(sequence))
      throw runInvalid(
        `sequence ${sequence} has two parts in a run`,
        'others',
        'Give the rows of a sequence in one part',
      );
    used.add(sequence);
  }
  return run;
}

/**
 * Checks values to be written to a slot.
 * @returns the slot
 * @throws DuobitError `RUN_INVALID`
 */
export function checkWrite(
  plan: ExecutionPlan,
  name: string,
  values: Float32Array | Int32Array,
  options: PrepareOptions,
): Slot {
  const slot = checkSlot(plan, name);
  const wanted = slot.kind === 'tokens' ? Int32Array : Float32Array;
  if (slot.kind === 'a4' || slot.kind === 'stat')
    throw runInvalid(`slot "${name}" of kind '${slot.kind}' cannot be written`, name, "Write an 'f32' slot");
  if (!(values instanceof wanted))
    throw runInvalid(`slot "${name}" takes a ${wanted.name}`, name, `Pass a ${wanted.name}`);
  const most = options.maxRows * slot.width;
  if (values.length === 0 || values.length % slot.width !== 0 || values.length > most)
    throw runInvalid(
      `${values.length} values do not fill whole rows of slot "${name}" (${slot.width} wide, at most ${options.maxRows} rows)`,
      name,
      'Write whole rows',
    );
  return slot;
}

/** @throws DuobitError `RUN_INVALID` when the plan has no such slot. */
export function checkSlot(plan: ExecutionPlan, name: string): Slot {
  const slot = Object.hasOwn(plan.slots, name) ? plan.slots[name] : undefined;
  if (!slot)
    throw runInvalid(
      `the plan has no slot "${name}"`,
      name,
      `Use one of: ${Object.keys(plan.slots).join(', ')}`,
    );
  return slot;
}

/** @throws DuobitError `RUN_INVALID` when a slot does not have so many logits, or a search does not find so many. */
export function checkTop(plan: ExecutionPlan, name: string, count: number): void {
  const most = Math.min(MOST_TOP, checkSlot(plan, name).width);
  if (!Number.isInteger(count) || count < 1 || count > most)
    throw runInvalid(
      `asked for the ${count} largest values of slot "${name}"; it allows 1 to ${most}`,
      name,
      'Ask for a number in this range',
    );
}

/** @throws DuobitError `RUN_INVALID` where a part of a row of logits is empty or goes past it. */
export function checkPart(plan: ExecutionPlan, name: string, first: number, count: number): void {
  const { width } = checkSlot(plan, name);
  const isWithin = Number.isInteger(first) && Number.isInteger(count) && first >= 0 && first + count <= width;
  if (!isWithin || count < 1)
    throw runInvalid(
      `asked for ${count} values of slot "${name}" from place ${first} on; it is ${width} wide`,
      name,
      'Ask for a range inside the slot',
    );
}

/** @throws DuobitError `RUN_INVALID` where softmax has no such temperature. */
export function checkTemperature(temperature: number): void {
  if (!(temperature > 0 && temperature < Number.POSITIVE_INFINITY))
    throw runInvalid(
      `temperature is ${temperature}; it must be finite and above zero`,
      'temperature',
      'Choose one above zero',
    );
}

/**
 * @param rows how many rows of logits the slot holds; 0 where it holds none
 * @throws DuobitError `RUN_INVALID`
 */
export function checkLogitsRow(name: string, row: number, rows: number): void {
  if (!Number.isInteger(row) || row < 0 || row >= rows)
    throw runInvalid(
      `row ${row} of "${name}" was asked for; the latest run computed ${rows} rows of logits`,
      name,
      'Ask for a row that was computed, counted from 0, or run the program with logits first',
    );
}

/** For a slot that is read where no run has filled it. */
export function notRun(slot: string): DuobitError {
  return runInvalid(`slot "${slot}" was read before a successful run`, slot, 'Run the program first');
}

/** For what is used after `dispose()`. */
export function disposed(what: 'program' | 'backend'): DuobitError {
  return new DuobitError('BACKEND_DISPOSED', `the ${what} was used after dispose()`, {
    remedy: what === 'program' ? 'Prepare a new one' : 'Create a new one',
  });
}

/** @throws DuobitError `RUN_INVALID` naming the first token id outside 0 … vocabularySize - 1. */
export function checkTokens(tokens: ArrayLike<number>, vocabularySize: number): void {
  for (let row = 0; row < tokens.length; row++)
    if (!Number.isInteger(tokens[row]) || tokens[row]! < 0 || tokens[row]! >= vocabularySize)
      throw runInvalid(
        `token ${tokens[row]} in row ${row} is outside the vocabulary of ${vocabularySize}`,
        'tokens',
        "Use the model's own tokenizer",
      );
}
