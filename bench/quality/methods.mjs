// What the quality results compare: baselines as their papers have them and on rotated inputs, W(1+1), and W(1+1) with one part
// changed.
import { createMethod, createW11LayerMethod, W11_DEFAULTS } from '@duobit/quantizer';

const OURS = { correction: 1, correctionDamping: 0.05, clips: 'search', activations: 'f16', outliers: 0 };
/** No baseline's paper corrects towards the teacher. Clips are searched for all, so that 4-bit inputs compare. */
const THEIRS = { ...OURS, correction: 0 };

const BASELINES = [
  ['rtn-4', 'RTN-4'],
  ['rtn-3', 'RTN-3'],
  ['rtn-2', 'RTN-2'],
  ['gptq-4', 'GPTQ-4'],
  ['gptq-3', 'GPTQ-3'],
  ['gptq-2', 'GPTQ-2'],
  ['pb-llm', 'PB-LLM, 10 % salient'],
  ['billm', 'BiLLM'],
  ['arb-rc', 'ARB-RC'],
];
const baselines = (group, rotation, suffix) =>
  BASELINES.map(([name, title]) => ({
    id: `${name}${suffix}`,
    title,
    group,
    method: () => createMethod(name),
    stage: THEIRS,
    rotation,
  }));
const ours = (id, title, { fit = {}, stage = {}, rotation = 'inputs' } = {}) => ({
  id,
  title,
  group: id.startsWith('w11') ? 'ours' : 'ablation',
  method: () => createW11LayerMethod({ ...W11_DEFAULTS, ...fit }),
  stage: { ...OURS, ...stage },
  rotation,
});

/** `id`: name of the record; `stage`: of `fitModel`; `rotation`: of `prepareCheckpoint`; `group`: where the page has it. */
export const METHODS = [
  { id: 'full', title: 'Full precision', group: 'full' },
  { id: 'full-inputs', title: 'Full precision, inputs rotated', group: 'full', rotation: 'inputs' },
  { id: 'full-rotated', title: 'Full precision, rotation folded in', group: 'full', rotation: 'full' },
  ...baselines('baseline', 'none', ''),
  ours('w11', 'W(1+1)'),
  ours('w11-small', 'W(1+1), symmetric, groups of 256', { fit: { groupSize: 256, offsets: false } }),
  ours('w11-outliers', 'W(1+1), 8 outlier columns an input', { stage: { outliers: 8 } }),
  ...baselines('rotated baseline', 'inputs', '-inputs'),
  ours('not-rotated', 'not rotated', { rotation: 'none' }),
  ours('rotated-full', 'rotation folded into the weights', { rotation: 'full' }),
  ours('rotated-blocks', 'the same in blocks of 64', { rotation: 'blocks' }),
  ours('no-correction', 'no correction towards the teacher', { stage: { correction: 0 } }),
  ours('half-correction', 'half of the correction', { stage: { correction: 0.5 } }),
  ours('no-turns', 'no turns of refit and descent', { fit: { turns: 0 } }),
  ours('one-turn', 'one turn', { fit: { turns: 1 } }),
  ours('no-propagation', 'no error propagation in the first pass', { fit: { propagate: false } }),
  ours('first-pass', 'first pass alone, no correction', { fit: { turns: 0 }, stage: { correction: 0 } }),
  ours('first-pass-no-propagation', 'first pass alone, no propagation, no correction', {
    fit: { turns: 0, propagate: false },
    stage: { correction: 0 },
  }),
  ours('uniform', 'every group by itself, no importance', {
    fit: { turns: 0, propagate: false, importance: 'uniform' },
    stage: { correction: 0 },
  }),
  ours('diagonal', 'importance H_jj', { fit: { importance: 'diagonal' } }),
  ours('em', 'levels by EM', { fit: { fit: 'em' } }),
  ours('halves', 'lower and upper levels paired', { fit: { pairing: 'halves' } }),
  ours('damping-10', 'damping 10 %', { fit: { damping: 0.1 } }),
  ours('damping-0.1', 'damping 0.1 %', { fit: { damping: 0.001 } }),
  ours('on-codes', 'fitted to 4-bit inputs', { stage: { activations: 'a4' } }),
  ours('no-clips', 'clips 1', { stage: { clips: 'none' } }),
];
