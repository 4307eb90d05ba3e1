// Files that a reader must read: every encoding, every optional part, and what newer writers may add.
import { makeModel, TOKENIZER } from './models.mjs';

const W11 = { encoding: 'w11', group_size: 32, flags: 1 };
const OUTLIERS = { ...W11, encoding: 'w11_outlier' };
const activation = (more = {}) => ({
  scheme: 'dynamic_asymmetric',
  bits: 4,
  clip_low: 0.875,
  clip_high: 0.9,
  ...more,
});
const PROJECTIONS = ['q', 'k', 'v', 'o'].map((letter) => `${letter}_proj.weight`);

/** @returns {{ folder: string, name: string, covers: string[], model: object, canonical: boolean }[]} */
export function listGood() {
  const good = (name, covers, what, canonical = true) => ({
    folder: 'good',
    name,
    covers,
    model: makeModel(what),
    canonical,
  });
  const future = (name, covers, what, canonical = false) => ({
    ...good(name, covers, what, canonical),
    folder: 'future',
  });
  return [
    good(
      'minimal',
      'GEN-1 LAY-1 LAY-2 LAY-3 LAY-4 LAY-5 LAY-6 LAY-7 LAY-8 LAY-10 PRE-12 SCH-1 ENC-1 ENC-2 ENC-DENSE-1 CAN-5 CAN-6 SEG-3 TOK-2',
      { encodings: { 'q_proj.weight': { ...W11, activation: activation() } } },
    ),
    good(
      'dense',
      'ENC-DENSE-1 ENC-4 TEN-2 TEN-6',
      {
        encodings: {
          layernorm: { encoding: 'bf16' },
          'norm.weight': { encoding: 'f32' },
          proj: { encoding: 'bf16' },
        },
        segmentOf: 'all',
        tensors: [
          { name: 'x.scalar', shape: [], encoding: 'f32' },
          { name: 'x.vector', shape: [3], encoding: 'bf16' },
          { name: 'x.cube', shape: [2, 1, 3], encoding: 'f16' },
          { name: 'x.four', shape: [1, 2, 2, 2], encoding: 'f32' },
          { name: `x.${'n'.repeat(253)}`, shape: [1], encoding: 'f16' },
        ],
      },
      false,
    ),
    good(
      'integers',
      'ENC-INT8-1 ENC-INT8-2 ENC-INT8-3 ENC-INT8-4 ENC-INT4-1 ENC-INT4-2 ENC-INT4-3 ENC-2 ENC-3 ENC-6 ARC-12',
      {
        architecture: {
          hidden_size: 33,
          intermediate_size: 70,
          head_size: 6,
          vocabulary_size: 5,
          tied_head: false,
        },
        encodings: {
          'embed_tokens.weight': { encoding: 'int8', group_size: 32 },
          'lm_head.weight': { encoding: 'int4', group_size: 32 },
          'down_proj.weight': { encoding: 'int8', group_size: 64 },
          'up_proj.weight': { encoding: 'int4', group_size: 64 },
          'q_proj.weight': { encoding: 'int4', group_size: 128 },
          'k_proj.weight': { encoding: 'int8', group_size: 256 },
        },
        seed: 2,
      },
    ),
    good(
      'w11',
      'ENC-W11-1 ENC-W11-2 ENC-W11-3 ENC-W11-4 ENC-W11-5 ENC-2 ENC-3 ENC-6 ACT-1 ACT-2 ACT-6 TEN-7 CAN-3',
      {
        architecture: { hidden_size: 36, intermediate_size: 65, head_size: 10 },
        encodings: {
          'q_proj.weight': { ...W11, activation: activation() },
          'k_proj.weight': { ...W11, flags: 0, activation: activation() },
          'v_proj.weight': { ...W11, group_size: 64, activation: activation({ clip_high: 1 }) },
          'o_proj.weight': { ...W11, group_size: 256, flags: 0 },
          'gate_proj.weight': { ...W11, activation: activation() },
          'up_proj.weight': { ...W11, activation: activation() },
          'down_proj.weight': { ...W11, activation: activation() },
        },
        tensors: [
          { name: 'model.layers.0.self_attn.q_proj.bias', shape: [20], encoding: 'f32' },
          { name: 'model.layers.0.extra.weight', shape: [1, 128], ...W11, group_size: 128 },
          { name: 'other.weight', shape: [2, 1], ...W11 },
        ],
        seed: 3,
      },
    ),
    good(
      'eight-bit-parts',
      'ENC-OUT-1 ENC-OUT-2 ENC-OUT-3 ENC-OUT-4 ENC-OUT-5 ENC-OUT-6 ENC-PB-1 ENC-PB-2 ENC-PB-3 ENC-PB-4 ENC-PB-5 ENC-PB-6 ENC-PB-7 ENC-PB-8',
      {
        architecture: { hidden_size: 40 },
        encodings: {
          'q_proj.weight': { ...W11, encoding: 'w11_outlier', outlier_columns: 1 },
          'k_proj.weight': { ...W11, encoding: 'w11_outlier', outlier_columns: 5, flags: 0 },
          'v_proj.weight': { ...W11, encoding: 'w11_outlier', outlier_columns: 40, activation: activation() },
          'gate_proj.weight': { encoding: 'partial_binary', group_size: 32, salient_count: 3n },
          'up_proj.weight': { encoding: 'partial_binary', group_size: 64, salient_count: 480n },
          'down_proj.weight': { encoding: 'partial_binary', group_size: 32, salient_count: 17n },
        },
        seed: 4,
      },
    ),
    good(
      'activations',
      'ACT-3 ACT-4 ACT-5 ARC-2 ARC-9 ARC-10 KVC-2 TOK-2',
      {
        architecture: { sliding_window: 1, rope_scaling: { kind: 'linear', factor: 2.5 } },
        special_tokens: { eos: [], pad: 3 },
        kv_cache: { key_bits: 16, value_bits: 16, group_size: 0 },
        encodings: {
          'q_proj.weight': { ...W11, activation: activation({ knee: 1, slope_ratio: 8 }) },
          'k_proj.weight': { ...W11, activation: activation({ knee: 14, slope_ratio: 2 }) },
          'v_proj.weight': { ...W11, activation: activation({ plane_scales: [1, 2.5, 3.75, 8.125] }) },
          'o_proj.weight': { encoding: 'int8', group_size: 32, activation: activation({ plane_scales: [] }) },
        },
        segmentOf: 'all',
        seed: 6,
      },
      false,
    ),
    good('rotated', 'TEN-8 ROT-1 ROT-2 ROT-3 ROT-4 ENC-1 EVO-9 CAN-6', {
      encodings: {
        'q_proj.weight': { ...W11, activation: activation(), input_rotation: 'hadamard' },
        'k_proj.weight': { ...W11, input_rotation: 'hadamard' },
        'o_proj.weight': { encoding: 'int8', group_size: 32, input_rotation: 'hadamard' },
        // 12 columns, no power of two.
        'down_proj.weight': { input_rotation: 'hadamard' },
      },
      tensors: [{ name: 'other.weight', shape: [2, 1], encoding: 'f32', input_rotation: 'hadamard' }],
      seed: 9,
    }),
    good('rotated-outliers', 'OUTL-3 ENC-OUT-2 ENC-OUT-6 ROT-4', {
      architecture: { hidden_size: 40 },
      encodings: {
        'q_proj.weight': {
          ...OUTLIERS,
          outlier_columns: 3,
          activation: activation(),
          input_rotation: 'hadamard',
        },
        'k_proj.weight': { ...OUTLIERS, outlier_columns: 40, flags: 0, input_rotation: 'hadamard' },
        // 12 columns, no power of two.
        'down_proj.weight': { ...OUTLIERS, outlier_columns: 1, input_rotation: 'hadamard' },
        'up_proj.weight': { ...OUTLIERS, outlier_columns: 2 },
      },
      seed: 11,
    }),
    good('rotated-sharded', 'ROT-2 SHD-1', {
      encodings: { 'gate_proj.weight': { ...W11, input_rotation: 'hadamard' } },
      dataFiles: ['rotated-sharded-00001.duodata'],
      files: { embedding: 1, 'block.0': 1, head: 1 },
      seed: 10,
    }),
    good(
      'optional-parts',
      'ARC-2 ARC-9 ARC-10 ARC-11 TOK-1 TOK-3 AST-1 AST-2 AST-4 AST-5 KVC-1 KVC-2 PRV-1 MET-1 NAM-1 STR-19 CAN-4',
      {
        architecture: {
          family: 'mistral',
          sliding_window: 7,
          rope_scaling: {
            kind: 'llama3',
            factor: 8,
            low_frequency_factor: 1,
            high_frequency_factor: 4,
            original_context_length: 8192,
          },
        },
        special_tokens: { bos: 0, eos: [1, 3], pad: 0, add_bos: true },
        assets: [
          { role: 'tokenizer', media_type: 'application/json', bytes: TOKENIZER },
          { role: 'tokenizer_config', media_type: 'application/json', bytes: '{}' },
          { role: 'chat_template', media_type: 'text/plain', bytes: '{{ messages }}' },
          { role: 'generation_config', media_type: 'application/json', bytes: '{}' },
          { role: 'license', media_type: 'text/plain', bytes: 'none' },
        ],
        provenance: {
          source_name: 'ein Modell 模型',
          recipe: '\ufeff{"a":"é"}',
          calibration_sha256: new Uint8Array(32).fill(0xcd),
        },
        metadata: { 9: 'nine', 10: 'ten', a: '', 'z.last': 'ümläut \u202e\u0000 end', '~': '\ud83e\udd98' },
        kv_cache: { key_bits: 8, value_bits: 4, group_size: 64, symmetric: true },
      },
    ),
    good('sharded', 'SHD-1 SHD-2 SHD-3 SHD-4 SHD-5 SHD-6 SHD-8 SHD-9 SHD-10 SEG-2 SEG-3', {
      encodings: Object.fromEntries(PROJECTIONS.map((name) => [name, W11])),
      assets: [{ role: 'tokenizer', media_type: 'application/json', bytes: TOKENIZER }],
      dataFiles: ['sharded-00001.duodata', 'sharded-00002.duodata'],
      files: { embedding: 1, 'block.0': 2, head: 2 },
      seed: 7,
    }),
    good(
      'sharded-wholly',
      'SHD-11 SHD-4 SHD-2',
      {
        dataFiles: ['Sharded_wholly.1'],
        files: { all: 1 },
        segmentOf: 'all',
        seed: 8,
      },
      false,
    ),
    good('other-order', 'CAN-1 CAN-2', { order: 'reverse', segmentOf: 'all', metadata: { a: 'b' } }, false),
    future('compatible-feature', 'PRE-11 EVO-4', { compatible: (1n << 63n) | 4n, segmentOf: 'all' }),
    future('unknown-encoding', 'ENC-9 ENC-10 EVO-2 EVO-3 AST-3', {
      segmentOf: 'all',
      assets: [
        { role: 'license', media_type: 'text/plain', bytes: 'none' },
        { role: 77, media_type: 'application/octet-stream', bytes: 'what?' },
      ],
      encodings: {
        'q_proj.weight': {
          encoding: 999,
          group_size: 48,
          flags: 6,
          outlier_columns: 3,
          salient_count: 5n,
          planes: [
            [4, new Uint8Array(7).fill(9)],
            [4, new Uint8Array(1).fill(1)],
            [555, new Uint8Array(300).fill(7)],
          ],
        },
        'k_proj.weight': { encoding: 'unspecified', planes: [] },
      },
    }),
    future('newer-minor', 'PRE-4 EVO-1 STR-10', addUnknownFields({ minor: 9, segmentOf: 'all' })),
  ];
}

/** Fields behind the last one of three tables; one of them far behind. */
function addUnknownFields(what) {
  return {
    ...what,
    provenance: { unknownFields: [[200, 0xffffffff]] },
    architecture: { unknownFields: [[14, 1]] },
  };
}
