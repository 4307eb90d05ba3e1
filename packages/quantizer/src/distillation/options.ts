// Options of stages 2 to 4, and what they are unless told otherwise.
import type { Engine } from '@duobit/tfjs';

/** Steps of Adam by kind of parameter, each in units of what it moves; 0 fixes it. */
export interface Rates {
  /** Of latent weights, in mean distances of a layer's levels from zero. 0 keeps the bits. */
  readonly latent: number;
  /** Of levels, in the same unit. */
  readonly levels: number;
  readonly clips: number;
  /** Of the slope ratio above the knee. */
  readonly knee: number;
}

/** Of a stage that goes block by block. */
export interface BlockStageOptions {
  readonly activations: 'f16' | 'a4';
  readonly rates: Rates;
  /** Steps of a block, and windows in each. */
  readonly steps: number;
  readonly batch: number;
  /** Part of the windows, the last of them, that blocks are judged on and not trained. */
  readonly heldOut: number;
  readonly clipNorm: number;
  /** Latent weights begin at their level and this part of the way to the weight. */
  readonly latentStart: number;
  /** Code of the knee; null trains none. */
  readonly knee: number | null;
  readonly seed: number;
}

/** Of stage 4. Rates as in `Rates`; latent weights begin at their levels. */
export type EndToEndOptions = Omit<BlockStageOptions, 'activations' | 'knee' | 'latentStart'>;

export interface DistillationOptions {
  /** Opened with `openEngine`; stays the caller's. */
  readonly engine: Engine;
  /** Most tokens of the calibration text that blocks are trained and judged on. */
  readonly tokens: number;
  readonly seed?: number;
  /** Stage 2; null leaves it out. */
  readonly weights?: Partial<BlockStageOptions> | null;
  /** Stage 3; null leaves it out. */
  readonly activations?: Partial<BlockStageOptions> | null;
  /** Stage 4; null leaves it out. */
  readonly endToEnd?: Partial<EndToEndOptions> | null;
}

const BLOCK_DEFAULTS = {
  steps: 400,
  batch: 4,
  heldOut: 1 / 16,
  clipNorm: 1,
  latentStart: 0.3,
  knee: null,
  seed: 0,
} as const;

/** Stage 2. */
export const WEIGHT_DEFAULTS: BlockStageOptions = {
  ...BLOCK_DEFAULTS,
  activations: 'f16',
  rates: { latent: 0.003, levels: 0.003, clips: 0, knee: 0 },
};

/** Stage 3. */
export const ACTIVATION_DEFAULTS: BlockStageOptions = {
  ...BLOCK_DEFAULTS,
  activations: 'a4',
  steps: 150,
  rates: { latent: 0, levels: 0.003, clips: 0.005, knee: 0 },
};

/** Stage 4. */
export const END_TO_END_DEFAULTS: EndToEndOptions = {
  steps: 300,
  batch: 4,
  heldOut: 1 / 16,
  clipNorm: 1,
  seed: 0,
  rates: { latent: 0.002, levels: 0.003, clips: 0.005, knee: 0 },
};
