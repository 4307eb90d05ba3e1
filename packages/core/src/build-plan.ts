// Turns an architecture and its tensors' encodings into an ExecutionPlan: the Llama family (Touvron et al. 2023), that is
// Llama, SmolLM2 and Mistral (Jiang et al. 2023). A plan is the whole model or one section of it.
import {
  type ActivationQuantizer,
  blockWeights,
  DuobitError,
  LLAMA,
  listBlockTensors,
  listModelTensors,
  type ModelSource,
  type ModelTensor,
} from '@duobit/format';
import type { ActivationRefinement } from './backend.ts';
import { MOST_OUTLIER_COLUMNS, outliersOf } from './outliers.ts';
import type { ExecutionPlan, HeadLayout, Operation, Slot } from './plan.ts';
import { checkArchitecture, checkTensor, type TensorFacts } from './plan-checks.ts';
import { ropeFrequencies } from './rope.ts';
import { crossSlot, rotatedSlot, SLOTS, statisticsSlot, teacherSlot } from './slots.ts';

/**
 * Part of a model. 'embedding' goes from slot 'tokens' to 'residual', a block from 'residual' to 'residual' (with a
 * KV cache of one layer), 'head' from 'residual' to 'logits'; 'model' is all of them.
 */
export type PlanSection = 'model' | 'embedding' | { readonly block: number } | 'head';

/** Options of `buildPlan`. */
export interface PlanOptions {
  /**
   * 'a4' (default): a linear weight of a block that has an activation quantizer runs on 4-bit codes, one without on f32.
   * W(1+1) weights multiply the codes themselves, those of any other encoding the values that the codes stand for.
   * 'f16': every weight runs on unquantized activations; the CPU backends keep them in f32.
   */
  readonly activations?: 'a4' | 'f16' | undefined;
  /** Replaces the quantizer that a linear weight carries; null means unquantized input. Asked under 'a4' only. */
  readonly quantizers?: ((weight: string) => ActivationQuantizer | null) | undefined;
  /**
   * The outlier columns of a linear weight, none for most; `readOutlierColumns` makes this of a model. A weight that has some is
   * read as two, itself and `outliersOf` it, as `splitOutliers` parts a w11-outlier tensor.
   */
  readonly outliers?: ((weight: string) => readonly number[]) | undefined;
  /** Refinements of quantizers that the backend runs (`Backend.refinements`); a plan with others is refused. Default: none. */
  readonly refinements?: readonly ActivationRefinement[] | undefined;
  readonly section?: PlanSection | undefined;
  /**
   * 'gram' adds the Gram matrix of every distinct input of linear weights, in `statisticsSlot`; 'cross' besides it the
   * products with the inputs of another model, which the caller writes to `teacherSlot` before each run, in `crossSlot`.
   * Default 'none'.
   */
  readonly statistics?: 'none' | 'gram' | 'cross' | undefined;
  /**
   * What statistics are taken of: 'input' (default), the inputs before they are quantized, or 'codes', the values that their
   * codes stand for, where a weight has a quantizer. Weights of one input then need equal quantizers.
   */
  readonly statisticsOn?: 'input' | 'codes' | undefined;
}

/** What planning needs of a model: no weights are read. */
export type PlanSource = Pick<ModelSource, 'name' | 'architecture' | 'tensorNames' | 'tensorInfo'>;

/**
 * Builds the plan of a model or of a section of it.
 * @throws DuobitError `PLAN_TENSOR_MISSING`, `PLAN_SHAPE_MISMATCH`, `PLAN_ENCODING_UNSUPPORTED`,
 * `PLAN_ACTIVATION_UNSUPPORTED`, `PLAN_TENSOR_UNSUPPORTED`, `PLAN_ARCHITECTURE_INVALID`, `PLAN_SECTION_UNKNOWN`.
 */
export function buildPlan(source: PlanSource, options: PlanOptions = {}): ExecutionPlan {
  const { architecture } = source;
  const section = options.section ?? 'model';
  checkArchitecture(architecture, source.name);
  const frequencies = ropeFrequencies(architecture);
  const builder = new PlanBuilder(source, options, listSectionTensors(source, section));

  if (section === 'model' || section === 'embedding') builder.embed();
  if (section === 'model')
    for (let block = 0; block < architecture.blockCount; block++) builder.block(block, block);
  if (typeof section === 'object') builder.block(section.block, 0);
  if (section === 'model' || section === 'head') builder.head();

  return {
    slots: builder.slots,
    operations: builder.operations,
    cacheLayers: section === 'model' ? architecture.blockCount : typeof section === 'object' ? 1 : 0,
    heads: builder.heads,
    ropeFrequencies: frequencies,
  };
}

/** The weights a plan reads, each once, in order of first use. */
export function listPlanWeights(plan: ExecutionPlan): string[] {
  const names = new Set<string>();
  for (const operation of plan.operations) if ('weight' in operation) names.add(operation.weight);
  return [...names];
}

function listSectionTensors(source: PlanSource, section: PlanSection): ModelTensor[] {
  const { architecture } = source;
  const all = listModelTensors(architecture);
  if (section === 'model') return all;
  if (section === 'embedding') return all.slice(0, 1);
  if (section === 'head') {
    // A tied head reads the embedding's tensor, so the embedding's spec stands for it.
    const head = architecture.tiedHead ? LLAMA.embedding : LLAMA.head;
    return all.filter((spec) => spec.name === LLAMA.finalNorm || spec.name === head);
  }
  const { block } = section;
  if (!Number.isInteger(block) || block < 0 || block >= architecture.blockCount)
    throw new DuobitError(
      'PLAN_SECTION_UNKNOWN',
      `block ${block} was asked for; the model has ${architecture.blockCount} blocks, counted from 0`,
      { source: source.name, where: 'section', remedy: 'Name a block of the model' },
    );
  return listBlockTensors(architecture, block);
}

/** Slots that an input's columns were parted to. */
interface Parted {
  readonly kept: string;
  readonly taken: string;
}

class PlanBuilder {
  readonly slots: Record<string, Slot> = {};
  readonly operations: Operation[] = [];
  readonly heads: HeadLayout;
  readonly #source: PlanSource;
  readonly #options: PlanOptions;
  readonly #tensors = new Map<string, TensorFacts>();
  /** 'a4' slots that hold the codes of what an f32 slot holds now: slot -> quantizer -> 'a4' slot. */
  readonly #codes = new Map<string, Map<string, string>>();
  /** What the present values of an f32 slot were parted to: slot -> columns -> slots. */
  readonly #parted = new Map<string, Map<string, Parted>>();
  /** f32 slots whose present values have been rotated. */
  readonly #rotated = new Set<string>();
  /** 'a4' slots whose present codes have been decoded. */
  readonly #decoded = new Set<string>();
  /** Statistics slots that have their operation already, and what it reads: weights with a common input share one. */
  readonly #counted = new Map<string, string>();

  constructor(source: PlanSource, options: PlanOptions, specs: readonly ModelTensor[]) {
    this.#source = source;
    this.#options = options;
    const { headCount, kvHeadCount, headSize } = source.architecture;
    this.heads = { headCount, kvHeadCount, headSize };
    const present = new Set(source.tensorNames);
    for (const spec of specs) this.#tensors.set(spec.name, checkTensor(source, present, spec));
  }

  embed(): void {
    const { hiddenSize } = this.#source.architecture;
    const input = this.#slot(SLOTS.tokens, 1, 'tokens');
    const out = this.#written(SLOTS.residual, hiddenSize);
    this.operations.push({ op: 'embed', input, weight: LLAMA.embedding, out });
  }

  block(block: number, layer: number): void {
    const { hiddenSize, intermediateSize, slidingWindow } = this.#source.architecture;
    const { headCount, kvHeadCount, headSize } = this.heads;
    const weights = blockWeights(block);
    const residual = this.#slot(SLOTS.residual, hiddenSize);

    const normed = this.#norm(residual, weights.inputNorm, SLOTS.normed);
    const query = this.#linear(normed, weights.q, SLOTS.query, headCount * headSize);
    const key = this.#linear(normed, weights.k, SLOTS.key, kvHeadCount * headSize);
    const value = this.#linear(normed, weights.v, SLOTS.value, kvHeadCount * headSize);
    this.operations.push({ op: 'rope', target: query, headCount, headSize });
    this.operations.push({ op: 'rope', target: key, headCount: kvHeadCount, headSize });
    const attended = this.#written(SLOTS.attended, headCount * headSize);
    this.operations.push({
      op: 'attention',
      query,
      key,
      value,
      out: attended,
      layer,
      heads: this.heads,
      window: slidingWindow,
    });
    this.#add(this.#linear(attended, weights.o, SLOTS.branch, hiddenSize), residual);

    const mlpNormed = this.#norm(residual, weights.postNorm, SLOTS.mlpNormed);
    const gate = this.#linear(mlpNormed, weights.gate, SLOTS.gate, intermediateSize);
    const up = this.#linear(mlpNormed, weights.up, SLOTS.up, intermediateSize);
    const activated = this.#written(SLOTS.activated, intermediateSize);
    this.operations.push({ op: 'siluMul', gate, up, out: activated });
    this.#add(this.#linear(activated, weights.down, SLOTS.branch, hiddenSize), residual);
  }

  head(): void {
    const { hiddenSize, vocabularySize, tiedHead } = this.#source.architecture;
    const weight = tiedHead ? LLAMA.embedding : LLAMA.head;
    const normed = this.#norm(this.#slot(SLOTS.residual, hiddenSize), LLAMA.finalNorm, SLOTS.normed);
    this.#count(normed, null, LLAMA.head, hiddenSize);
    const out = this.#written(SLOTS.logits, vocabularySize);
    this.operations.push({ op: 'logits', input: normed, weight, out });
  }

  #norm(input: string, weight: string, outName: string): string {
    const { hiddenSize, normEpsilon } = this.#source.architecture;
    const out = this.#written(outName, hiddenSize);
    this.operations.push({ op: 'rmsNorm', input, weight, epsilon: normEpsilon, out });
    return out;
  }

  /**
   * out = input W^T, on codes, on decoded codes or on f32 as the weight's encoding and the options say. Outlier columns are
   * taken out before anything is done to the input, multiplied as they are, and added.
   */
  #linear(whole: string, weight: string, outName: string, width: number): string {
    const tensor = this.#tensors.get(weight)!;
    const columns = tensor.shape[1]!;
    const apart =
      tensor.encoding.kind === 'w11-outlier' || (this.#options.outliers?.(weight).length ?? 0) > 0;
    const parted = apart ? this.#takeOutliers(whole, tensor) : null;
    const given = parted?.kept ?? whole;
    const input = tensor.inputRotation ? this.#rotate(given, columns) : given;
    const quantizer = this.#quantizer(tensor);
    const codes = quantizer && this.#quantize(input, quantizer, columns);
    this.#count(input, codes, weight, columns);
    const op = tensor.encoding.kind.startsWith('w11') ? 'w11MatMul' : 'denseMatMul';
    const operand = codes !== null && op === 'denseMatMul' ? this.#decode(codes, columns) : (codes ?? input);
    const out = this.#written(outName, width);
    this.operations.push({ op, input: operand, weight, out });
    if (parted) {
      const part = this.#written(outliersOf(outName), width);
      this.operations.push({ op: 'denseMatMul', input: parted.taken, weight: outliersOf(weight), out: part });
      this.#add(part, out);
    }
    return out;
  }

  #takeOutliers(input: string, { name, shape }: TensorFacts): Parted {
    const columns = this.#options.outliers?.(name) ?? [];
    const refusal = (what: string, remedy: string): DuobitError =>
      new DuobitError('PLAN_ENCODING_UNSUPPORTED', `tensor "${name}" has ${what}`, {
        source: this.#source.name,
        where: name,
        remedy,
      });
    const count = columns.length;
    if (count === 0)
      throw refusal(
        'outlier columns, and the plan was not told which',
        'Give buildPlan what readOutlierColumns reads',
      );
    if (count > MOST_OUTLIER_COLUMNS)
      throw refusal(
        `${count} outlier columns; at most ${MOST_OUTLIER_COLUMNS} can be run`,
        'Quantize the model again with fewer',
      );
    const known = this.#parted.get(input) ?? new Map<string, Parted>();
    this.#parted.set(input, known);
    const existing = known.get(columns.join());
    if (existing) return existing;
    const suffix = known.size === 0 ? '' : `.${known.size}`;
    const kept = this.#written(`${input}.kept${suffix}`, shape[1]!);
    // Blocks differ in how many columns they take, and a slot has one width.
    const taken = this.#written(`${input}.taken.${count}${suffix}`, count);
    this.operations.push({ op: 'takeColumns', input, columns, kept, taken });
    known.set(columns.join(), { kept, taken });
    return { kept, taken };
  }

  #quantizer(tensor: TensorFacts): ActivationQuantizer | null {
    const { activations = 'a4', quantizers, refinements = [] } = this.#options;
    if (activations === 'f16') return null;
    const quantizer = quantizers ? quantizers(tensor.name) : tensor.activation;
    const kneed = quantizer?.knee && !refinements.includes('knee');
    if (kneed || quantizer?.planeScales) {
      const what = kneed ? 'a knee' : 'plane scales';
      throw new DuobitError(
        'PLAN_ACTIVATION_UNSUPPORTED',
        `the activation quantizer of "${tensor.name}" has ${what}, which this backend does not run`,
        {
          source: this.#source.name,
          where: tensor.name,
          remedy: `Use ${kneed ? 'the tfjs backend' : 'a newer version of this library'}, or run it with unquantized activations`,
        },
      );
    }
    return quantizer;
  }

  #rotate(input: string, width: number): string {
    const out = this.#slot(rotatedSlot(input), width);
    if (this.#rotated.has(input)) return out;
    this.operations.push({ op: 'rotateInput', input, out: this.#written(out, width) });
    this.#rotated.add(input);
    return out;
  }

  #quantize(input: string, quantizer: ActivationQuantizer, width: number): string {
    const { bits, clipLow, clipHigh, knee } = quantizer;
    const key = `${bits} ${clipLow} ${clipHigh} ${knee ? `${knee.code} ${knee.slopeRatio}` : ''}`;
    const known = this.#codes.get(input) ?? new Map<string, string>();
    this.#codes.set(input, known);
    const existing = known.get(key);
    if (existing !== undefined) return existing;
    const out = this.#slot(known.size === 0 ? `${input}.a4` : `${input}.a4.${known.size}`, width, 'a4');
    this.operations.push({ op: 'quantizeActivations', input, quantizer, out });
    this.#decoded.delete(out);
    known.set(key, out);
    return out;
  }

  /** The f32 slot with what the codes stand for. */
  #decode(codes: string, width: number): string {
    const out = this.#slot(`${codes}.decoded`, width);
    if (!this.#decoded.has(codes)) this.operations.push({ op: 'decodeActivations', input: codes, out });
    this.#decoded.add(codes);
    return out;
  }

  /** Adds the statistics of a linear weight's input, unless those of the same input are there. */
  #count(unquantized: string, codes: string | null, weight: string, width: number): void {
    const { statistics = 'none', statisticsOn = 'input' } = this.#options;
    if (statistics === 'none') return;
    const input = codes !== null && statisticsOn === 'codes' ? this.#decode(codes, width) : unquantized;
    const gram = statisticsSlot(weight);
    const counted = this.#counted.get(gram);
    if (counted !== undefined && counted !== input)
      throw new DuobitError(
        'PLAN_ACTIVATION_UNSUPPORTED',
        `"${weight}" has another activation quantizer, rotation or outlier columns than a weight that reads the same input, so the input has no one form`,
        {
          source: this.#source.name,
          where: weight,
          remedy:
            'Use equal quantizers, rotations and outlier columns, or take the statistics of unquantized inputs where only quantizers differ',
        },
      );
    if (counted !== undefined) return;
    this.#counted.set(gram, input);
    const accumulate = (other: string | null, out: string): void => {
      this.#slot(out, width * width, 'stat');
      this.operations.push({ op: 'accumulateGram', input, other, out });
    };
    accumulate(null, gram);
    if (statistics === 'cross') accumulate(this.#slot(teacherSlot(weight), width), crossSlot(weight));
  }

  #add(input: string, out: string): void {
    this.operations.push({ op: 'add', input, out: this.#written(out, this.slots[out]!.width) });
  }

  #slot(name: string, width: number, kind: Slot['kind'] = 'f32'): string {
    this.slots[name] ??= { kind, width };
    return name;
  }

  /** Declares a slot that the next operation changes, so that what was made from its old contents is not reused. */
  #written(name: string, width: number): string {
    this.#codes.delete(name);
    this.#parted.delete(name);
    this.#rotated.delete(name);
    return this.#slot(name, width);
  }
}
