// All that training moves in a block, or in several: its layers' latent weights and levels, its inputs' quantizers.
import type { ActivationQuantizer } from '@duobit/format';
import type { Engine, Tensor2D, TensorQuantizer, Variable } from '@duobit/tfjs';
import type { BlockLayers, QuantizedLayer } from '../stages/block-store.ts';
import type { BlockModel, BlockValues } from './block-model.ts';
import { LayerParameters } from './layer-parameters.ts';
import type { BlockStageOptions, Rates } from './options.ts';
import { QuantizerParameters, quantizerTensors } from './quantizer-parameters.ts';

export class BlockParameters {
  readonly #model: BlockModel;
  readonly #before: BlockLayers;
  readonly #layers = new Map<string, LayerParameters>();
  /** By the slot of the input. */
  readonly #quantizers = new Map<string, QuantizerParameters>();

  /** For all blocks at once, with the quantizers as they are; latent weights begin at their levels, where nothing flips yet. */
  static whole(engine: Engine, model: BlockModel, before: BlockLayers, latent: boolean): BlockParameters {
    const levels = new Map([...before].map(([name, { result }]) => [name, result.approximation]));
    const knee = [...before.values()].find(({ activation }) => activation.knee)?.activation.knee?.code;
    const options = { activations: 'a4', knee: knee ?? null, bits: 'nearest', latentStart: 0 } as const;
    return new BlockParameters(engine, model, before, latent ? levels : null, options);
  }

  /** @param originals weights of the checkpoint, which latent weights begin near; null fixes the bits */
  constructor(
    engine: Engine,
    model: BlockModel,
    before: BlockLayers,
    originals: ReadonlyMap<string, Float32Array> | null,
    options: Pick<BlockStageOptions, 'activations' | 'knee' | 'bits' | 'latentStart'>,
  ) {
    const { activations, knee } = options;
    this.#model = model;
    this.#before = before;
    for (const name of model.linear) {
      const { result, activation } = before.get(name)!;
      const { encoding } = result.packed!;
      if (encoding.kind !== 'w11') throw new RangeError(`${encoding.kind} layers cannot be trained`);
      const [rows, columns] = model.shapeOf(name);
      const shape = { name, rows, columns, groupSize: encoding.groupSize, offsets: encoding.offsets };
      this.#layers.set(
        name,
        new LayerParameters(engine, shape, result, originals?.get(name) ?? null, options),
      );
      const slot = model.inputOf(name);
      if (activations === 'a4' && !this.#quantizers.has(slot))
        this.#quantizers.set(slot, new QuantizerParameters(engine, activation, knee));
    }
  }

  /** The rate of every variable that has one. */
  rates(rates: Rates, scale: number): Map<Variable, number> {
    const all = new Map<Variable, number>();
    const add = (variable: Variable | null, rate: number): void => {
      if (variable && rate > 0) all.set(variable, rate * scale);
    };
    for (const layer of this.#layers.values())
      for (const [variable, rate] of layer.rates(rates)) add(variable, rate);
    for (const { clips, slope } of this.#quantizers.values()) {
      add(clips, rates.clips);
      add(slope, rates.knee);
    }
    return all;
  }

  /**
   * Matrices of all layers and tensors of all quantizers, differentiable, for one run of the block.
   * @param polarisation weight of what pushes relaxed bitmaps towards 0 and 1, a mean over the layers
   */
  open(polarisation = 0): BlockValues {
    const each = polarisation / this.#layers.size;
    const matrices = new Map([...this.#layers].map(([name, layer]) => [name, layer.weights(each)]));
    return {
      weights: (name) => matrices.get(name)!,
      quantizers: this.#quantizers.size === 0 ? null : (slot) => this.#quantizers.get(slot)!.tensors(),
    };
  }

  /** The block as it would be stored. @throws DuobitError `QUANTIZE_OUT_OF_RANGE` */
  async harden(): Promise<Map<string, QuantizedLayer>> {
    const activations = new Map<string, ActivationQuantizer>();
    for (const [slot, quantizer] of this.#quantizers) activations.set(slot, await quantizer.harden());
    const after = new Map<string, QuantizedLayer>();
    for (const [name, layer] of this.#layers) {
      const { activation, error } = this.#before.get(name)!;
      after.set(name, {
        result: await layer.harden(),
        activation: activations.get(this.#model.inputOf(name)) ?? activation,
        error,
      });
    }
    return after;
  }

  dispose(): void {
    for (const held of [...this.#layers.values(), ...this.#quantizers.values()]) held.dispose();
  }
}

/** A block as it is stored, as tensors that are kept until `dispose`. */
export class BlockTensors implements BlockValues {
  readonly #engine: Engine;
  readonly #matrices = new Map<string, Tensor2D>();
  readonly #quantizers = new Map<string, TensorQuantizer>();
  readonly #quantized: boolean;

  constructor(engine: Engine, model: BlockModel, layers: BlockLayers, activations: 'a4' | 'f16') {
    this.#engine = engine;
    this.#quantized = activations === 'a4';
    for (const [name, { result, activation }] of layers) {
      this.#matrices.set(name, engine.tf.tensor2d(result.approximation, model.shapeOf(name)));
      const slot = model.inputOf(name);
      if (!this.#quantizers.has(slot)) this.#quantizers.set(slot, quantizerTensors(engine, activation));
    }
  }

  readonly weights = (name: string): Tensor2D => this.#matrices.get(name)!;

  get quantizers(): ((slot: string) => TensorQuantizer) | null {
    return this.#quantized ? (slot) => this.#quantizers.get(slot)! : null;
  }

  dispose(): void {
    const { tf } = this.#engine;
    tf.dispose([...this.#matrices.values()]);
    for (const { clips, knee } of this.#quantizers.values())
      tf.dispose([clips, ...(knee ? [knee.slopeRatio] : [])]);
  }
}
