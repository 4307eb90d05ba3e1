// Measures, once per adapter and state of the kernels, which of a few choices are fastest there, and keeps what came out. No choice
// changes what is computed but for the order of f32 sums.
import type { KvPrecision } from '@duobit/core';
import { nameVariant, type WebGpuDevice } from './device.ts';
import { SHADERS_VERSION } from './generated/shaders.ts';
import type { Tuning } from './tuning.ts';

/** Where results are kept. What it throws is taken as that it has nothing, and keeps nothing. */
export interface TuningStore {
  /** What was last written under the key, or null. */
  read(key: string): Promise<string | null>;
  /** Keeps a value under the key, in place of an older one. */
  write(key: string, value: string): Promise<void>;
}

/** What is timed: products of one row of codes, or attention of one row over a long context. */
export type Subject = 'product' | 'attention';

/** Choices that exclude each other, what is taken without a measurement first. */
export interface Stage {
  readonly subject: Subject;
  readonly choices: readonly Tuning[];
}

/** Measures candidates on a device. */
export interface Stopwatch {
  /** Milliseconds that the subject takes with this tuning, by the device where it tells. */
  readonly measure: (subject: Subject, tuning: Tuning) => Promise<number>;
  /** Milliseconds of any clock that does not go back. */
  readonly now: () => number;
}

/** Milliseconds after which no further choice is tried. One that is being tried may go past it by the time its kernels compile. */
const BUDGET = 200;
/** A choice is taken over the one before when it needs less than this share of its time: less may be chance. */
const GAIN = 0.95;

/** What there is to choose on a device. */
export function listStages({ variant, subgroupSize, adapter }: WebGpuDevice): Stage[] {
  const stages: Stage[] = [];
  const kinds = [{ product: 'dot' }, { product: 'bits' }] as const;
  // Counts of bits were faster on the NVIDIA GPU that was measured.
  if (variant.packedDot)
    stages.push({ subject: 'product', choices: adapter.vendor === 'nvidia' ? kinds.toReversed() : kinds });
  if (subgroupSize >= 4) stages.push({ subject: 'product', choices: [{ streams: 2048 }, { streams: 0 }] });
  stages.push(
    { subject: 'product', choices: [{ workgroup: 128 }, { workgroup: 64 }, { workgroup: 256 }] },
    { subject: 'attention', choices: [{ share: 256 }, { share: 128 }, { share: 512 }, { share: 1024 }] },
  );
  return stages;
}

/**
 * The fastest choice of every stage, each tried with what earlier ones gave.
 * @returns of stages that there was no time to finish the first choice
 */
export async function chooseTuning(
  stages: readonly Stage[],
  { measure, now }: Stopwatch,
  budget = BUDGET,
): Promise<Tuning> {
  const begun = now();
  let tuning: Tuning = {};
  for (const { subject, choices } of stages) {
    let best = choices[0]!;
    let least = Number.POSITIVE_INFINITY;
    let isComplete = true;
    for (const choice of choices) {
      isComplete &&= now() - begun < budget;
      if (!isComplete) break;
      const time = await measure(subject, { ...tuning, ...choice });
      if (time < GAIN * least) [best, least] = [choice, time];
    }
    tuning = { ...tuning, ...(isComplete ? best : choices[0]) };
  }
  return tuning;
}

/**
 * The tuning of a device: what is kept, else what is measured and then kept. Without a store, on an adapter that is software, or when
 * measuring fails, nothing is chosen and the rules of tuning.ts hold.
 */
export async function tuneDevice(
  open: WebGpuDevice,
  kv: KvPrecision,
  store: TuningStore | null,
  stopwatch: Stopwatch,
): Promise<Tuning> {
  if (!store || isSoftware(open.adapter)) return {};
  const { vendor, architecture, device, description } = open.adapter;
  const stages = listStages(open);
  const parts = [vendor, architecture, device, description, nameVariant(open.variant), open.subgroupSize, kv];
  const key = [SHADERS_VERSION, ...parts].join(' ');
  const kept = readTuning(await store.read(key).catch(() => null), stages);
  if (kept) return kept;
  try {
    const tuning = await chooseTuning(stages, stopwatch);
    await store.write(key, JSON.stringify(tuning)).catch(() => {});
    return tuning;
  } catch {
    // A device that has failed says so when it is used.
    return {};
  }
}

/** A kept tuning, if it is a choice of every stage. */
function readTuning(text: string | null, stages: readonly Stage[]): Tuning | null {
  let kept: Record<string, unknown>;
  try {
    kept = { ...JSON.parse(text ?? 'null') };
  } catch {
    return null;
  }
  let tuning: Tuning = {};
  for (const { choices } of stages) {
    const choice = choices.find((one) => Object.entries(one).every(([name, value]) => kept[name] === value));
    if (!choice) return null;
    tuning = { ...tuning, ...choice };
  }
  return tuning;
}

function isSoftware({ isFallbackAdapter, architecture, description }: GPUAdapterInfo): boolean {
  return (
    isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|basic render/i.test(`${architecture} ${description}`)
  );
}

const CACHE = 'duobit-tuning';

/** Results kept by the browser, which windows and workers share; null where there is no Cache API. */
export function createBrowserStore(): TuningStore | null {
  if (typeof caches === 'undefined') return null;
  // Nothing is ever fetched from there: it is a name.
  const urlOf = (key: string) => `https://tuning.duobit.invalid/?${encodeURIComponent(key)}`;
  return {
    read: async (key) => (await (await caches.open(CACHE)).match(urlOf(key)))?.text() ?? null,
    write: async (key, value) => (await caches.open(CACHE)).put(urlOf(key), new Response(value)),
  };
}
