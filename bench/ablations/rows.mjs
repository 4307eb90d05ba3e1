// What the ablations of distillation change, one thing each. `p` is {passes: of stage 2, seed}.

/** Soft slopes are rounded to whole numbers in the end: one that is to get there has to move fast. */
const KNEE = { rates: { knee: 0.02 } };

/** `id`: name of the record; `stages(p)`: of `distillation`. */
export const ROWS = [
  { id: 'stage-1', title: 'stage 1 alone', stages: () => null },
  { id: 'default', title: '**stages 2 and 3 as they are**', stages: (p) => after(p) },
  {
    id: 'joint',
    title: 'weights, levels and clips at once, with 4-bit inputs from the start',
    stages: ({ passes }) => ({
      weights: { passes: passes + 1, activations: 'a4', rates: { clips: 0.005 } },
      activations: null,
    }),
  },
  {
    id: 'nearest',
    title: 'nearest of four levels, latent start 0.1, latent rate 0.002',
    stages: (p) => after(p, { bits: 'nearest' }),
  },
  {
    id: 'slow',
    title: 'latent rate 0.002',
    stages: (p) => after(p, { rates: { latent: 0.002 } }),
  },
  {
    id: 'far',
    title: 'latent start 0.1',
    stages: (p) => after(p, { latentStart: 0.1 }),
  },
  {
    id: 'free',
    title: 'no polarisation',
    stages: (p) => after(p, { polarisation: 0 }),
  },
  {
    id: 'teacher-inputs',
    title: 'inputs of the unquantized model in training',
    stages: (p) => after(p, { inputs: 'teacher' }),
  },
  {
    id: 'levels',
    title: 'levels alone, bits of stage 1',
    stages: (p) => after(p, { bits: 'nearest', rates: { latent: 0 } }),
  },
  {
    id: 'variance',
    title: 'errors of channels by variance, not sensitivity',
    stages: (p) => after(p, { channels: 'variance' }, { channels: 'variance' }),
  },
  {
    id: 'symmetric',
    title: 'levels symmetric about zero',
    stages: (p) => after(p),
    quantize: { offsets: false },
  },
  {
    id: 'no-clips',
    title: 'clips as stage 1 found them',
    stages: (p) => after(p, {}, { rates: { clips: 0 } }),
  },
  {
    id: 'knee-7',
    title: 'nearest of four levels, a knee at code 7, trained',
    stages: (p) => after(p, { bits: 'nearest' }, { ...KNEE, knee: 7 }),
    knee: true,
  },
  {
    id: 'knee-11',
    title: 'nearest of four levels, a knee at code 11, trained',
    stages: (p) => after(p, { bits: 'nearest' }, { ...KNEE, knee: 11 }),
    knee: true,
  },
  {
    id: 'stage-4',
    title: 'stage 4 alone',
    stages: ({ passes }) => ({ weights: null, activations: null, endToEnd: { passes } }),
  },
];

function after({ passes }, weights = {}, activations = {}) {
  return { weights: { passes, ...weights }, activations: { passes: 1, ...activations } };
}
