// Headers whose structure is right and whose meaning is not (step 4 of validation).
const Q = 'model.layers.0.self_attn.q_proj.weight';

const fault = (name, covers, code, how) => ({ folder: 'invalid', name, covers, code, ...how });
const future = (name, covers, code, how) => ({ folder: 'future', name, covers, code, ...how });
const byName = (tree, name = Q) => tree.tensors.find((tensor) => tensor.name === name);
const edit = (change) => ({ tree: (tree) => void change(tree) });
const editTensor = (change) => ({ tree: (tree) => void change(byName(tree)) });
/** One more tensor, last in the segment. */
const extra = (tensor) => ({ what: { tensors: [{ name: 'x', encoding: 'f16', ...tensor }] } });
const architecture = (change) => ({ what: { architecture: change } });
const activation = (change) => editTensor((tensor) => Object.assign(tensor.activation, change));
const bytes = (count) => new Uint8Array(count).fill(1);

const READABLE = [
  fault(
    'limit-assets',
    'LIM-1',
    'LIMIT_EXCEEDED',
    edit((tree) => {
      tree.assets = Array.from({ length: 65 }, (_, i) => ({ role: i + 1, media_type: 'x', length: 1n }));
    }),
  ),
  fault(
    'limit-eos',
    'LIM-1',
    'LIMIT_EXCEEDED',
    edit((tree) => {
      tree.special_tokens.eos = Array.from({ length: 65 }, (_, i) => i);
    }),
  ),
  future('family', 'ARC-1 EVO-5', 'ARCHITECTURE_UNSUPPORTED', architecture({ family: 'mamba' })),
  future(
    'rope-scaling',
    'ARC-9 EVO-5',
    'ARCHITECTURE_UNSUPPORTED',
    architecture({ rope_scaling: { kind: 3, factor: 1 } }),
  ),
  fault('asset-offset-2-53', 'GEN-2', 'OFFSET_UNSAFE', {
    what: { assets: [{ role: 'license', media_type: 'text/plain', bytes: 'x' }] },
    ...edit((tree) => (tree.assets[0].offset = 2n ** 53n)),
  }),
  fault(
    'dimension-2-53',
    'GEN-2',
    'OFFSET_UNSAFE',
    editTensor((tensor) => (tensor.shape = [2n ** 53n, 8n])),
  ),
  fault(
    'plane-offset-2-63',
    'GEN-2',
    'OFFSET_UNSAFE',
    editTensor((tensor) => (tensor.planes[0].offset = 2n ** 63n)),
  ),
  fault(
    'segment-offset-2-64',
    'GEN-2',
    'OFFSET_UNSAFE',
    edit((tree) => (tree.segments[0].offset = 2n ** 64n - 16_384n)),
  ),
  fault('salient-count-2-53', 'GEN-2', 'OFFSET_UNSAFE', {
    ...editTensor((tensor) => Object.assign(tensor, { encoding: 999, salient_count: 2n ** 53n })),
  }),
  fault(
    'five-dimensions',
    'TEN-2',
    'TENSOR_SHAPE',
    editTensor((tensor) => (tensor.shape = [1n, 1n, 1n, 8n, 8n])),
  ),
  fault('f16-with-group-size', 'ENC-5 TEN-3', 'ENCODING_PARAMETERS', extra({ shape: [2], group_size: 32 })),
  fault(
    'w11-flag-1',
    'ENC-5 TEN-3',
    'ENCODING_PARAMETERS',
    editTensor((tensor) => (tensor.flags = 2)),
  ),
  fault(
    'w11-with-outliers',
    'ENC-8 TEN-3',
    'ENCODING_PARAMETERS',
    editTensor((tensor) => (tensor.outlier_columns = 1)),
  ),
  fault(
    'no-outliers',
    'ENC-OUT-1',
    'ENCODING_PARAMETERS',
    editTensor((tensor) => (tensor.encoding = 'w11_outlier')),
  ),
  fault(
    'no-salient',
    'ENC-PB-1',
    'ENCODING_PARAMETERS',
    editTensor((tensor) => Object.assign(tensor, { encoding: 'partial_binary', flags: 0 })),
  ),
  future('activation-scheme', 'ACT-1 EVO-5', 'ACTIVATION_UNSUPPORTED', activation({ scheme: 2 })),
  future('input-rotation', 'ROT-1 EVO-5', 'INPUT_ROTATION_UNSUPPORTED', {
    what: { encodings: { 'q_proj.weight': { input_rotation: 2 } } },
  }),
  fault('activation-8-bits', 'ACT-1', 'ACTIVATION_UNSUPPORTED', activation({ bits: 8 })),
  fault('slope-without-knee', 'ACT-3', 'ACTIVATION_INVALID', activation({ slope_ratio: 2 })),
  fault('three-plane-scales', 'ACT-4', 'ACTIVATION_INVALID', activation({ plane_scales: [1, 2, 4] })),
  fault(
    'chunk-hashes-few',
    'SEG-4',
    'SEGMENT_HASHES',
    edit((tree) => (tree.segments[0].chunk_hashes = bytes(0))),
  ),
  fault('kv-cache-bits', 'KVC-2', 'KV_CACHE_INVALID', {
    what: { kv_cache: { key_bits: 5, value_bits: 8, group_size: 32 } },
  }),
  fault('source-hash-31', 'PRV-1', 'PROVENANCE_HASH', { what: { provenance: { source_sha256: bytes(31) } } }),
  fault('metadata-twice', 'MET-1', 'METADATA_ORDER', {
    what: { metadata: { a: '', b: '' } },
    ...edit((tree) => (tree.metadata[1].key = 'a')),
  }),
];

const HYPERPARAMETERS = [
  fault('no-context', 'ARC-3', 'ARCHITECTURE_INVALID', architecture({ context_length: 0 })),
  fault('many-blocks', 'ARC-4', 'ARCHITECTURE_INVALID', {
    codes: ['TENSOR_MISSING'],
    ...edit((tree) => (tree.architecture.block_count = 2_045)),
  }),
  fault(
    'heads-not-divisible',
    'ARC-5',
    'ARCHITECTURE_INVALID',
    architecture({ head_count: 3, kv_head_count: 2 }),
  ),
  fault('head-size-odd', 'ARC-6', 'ARCHITECTURE_INVALID', architecture({ head_size: 3 })),
  fault('epsilon-one', 'ARC-7', 'ARCHITECTURE_INVALID', architecture({ norm_epsilon: 1 })),
  fault('theta-infinite', 'ARC-8', 'ARCHITECTURE_INVALID', architecture({ rope_theta: Infinity })),
  fault(
    'rope-factor-nan',
    'ARC-10',
    'ARCHITECTURE_INVALID',
    architecture({ rope_scaling: { kind: 'linear', factor: Number.NaN } }),
  ),
  fault('window-0', 'ARC-11', 'ARCHITECTURE_INVALID', architecture({ sliding_window: 0 })),
  fault(
    'head-missing',
    'ARC-12 TEN-5',
    'TENSOR_MISSING',
    edit((tree) => (tree.architecture.tied_head = false)),
  ),
  fault('token-outside', 'TOK-1', 'SPECIAL_TOKENS', { what: { special_tokens: { pad: 4 } } }),
  fault('eos-twice', 'TOK-2', 'SPECIAL_TOKENS', { what: { special_tokens: { eos: [2, 2] } } }),
  fault('add-bos-without-bos', 'TOK-3', 'SPECIAL_TOKENS', { what: { special_tokens: { add_bos: true } } }),
];

const asset = (role, text = 'x', media_type = 'text/plain') => ({ role, media_type, bytes: text });
const ENTRIES = [
  fault('assets-unsorted', 'AST-1', 'ASSET_ORDER', {
    what: { assets: [asset('license'), asset('chat_template')] },
  }),
  fault('asset-empty', 'AST-2', 'ASSET_LENGTH', { what: { assets: [asset('license', '')] } }),
  fault('asset-too-long', 'AST-2', 'ASSET_LENGTH', {
    codes: ['PLANE_RANGE'],
    what: { assets: [asset('license')] },
    ...edit((tree) => (tree.assets[0].length = 2n ** 28n + 1n)),
  }),
  fault('media-type', 'NAM-1', 'NAME_INVALID', { what: { assets: [asset('license', 'x', 'text plain')] } }),
  fault('tensor-name', 'NAM-1', 'NAME_INVALID', extra({ name: 'x\u00e9', shape: [1] })),
  fault('metadata-key', 'NAM-1', 'NAME_INVALID', { what: { metadata: { '': 'empty' } } }),
  fault(
    'tensors-unsorted',
    'TEN-1',
    'TENSOR_ORDER',
    edit((tree) => tree.tensors.reverse()),
  ),
  fault('tensor-twice', 'TEN-1', 'TENSOR_DUPLICATE', {
    what: {
      tensors: [
        { name: 'x', shape: [1], encoding: 'f16' },
        { name: 'y', shape: [1], encoding: 'f16' },
      ],
    },
    ...edit((tree) => (byName(tree, 'y').name = 'x')),
  }),
  fault('dimension-0', 'TEN-2', 'TENSOR_SHAPE', extra({ shape: [0, 3] })),
  fault('product-2-54', 'TEN-2', 'TENSOR_SHAPE', {
    codes: ['TENSOR_MISMATCH'],
    ...editTensor((tensor) => (tensor.shape = [2n ** 53n - 1n, 2n])),
  }),
  fault('w11-vector', 'ENC-7 TEN-3', 'TENSOR_SHAPE', {
    codes: ['TENSOR_MISMATCH'],
    ...editTensor((tensor) => Object.assign(tensor, { shape: [64n], activation: null })),
  }),
  fault(
    'group-size-33',
    'ENC-6 TEN-3',
    'TENSOR_GROUP_SIZE',
    editTensor((tensor) => (tensor.group_size = 33)),
  ),
  fault(
    'outliers-over-columns',
    'ENC-OUT-1 TEN-3',
    'ENCODING_PARAMETERS',
    editTensor((tensor) => Object.assign(tensor, { encoding: 'w11_outlier', outlier_columns: 9 })),
  ),
  fault(
    'salient-over-weights',
    'ENC-PB-1 TEN-3',
    'ENCODING_PARAMETERS',
    editTensor((tensor) =>
      Object.assign(tensor, { encoding: 'partial_binary', flags: 0, salient_count: 65n }),
    ),
  ),
  fault(
    'plane-missing',
    'TEN-4',
    'PLANE_ROLES',
    editTensor((tensor) => (tensor.flags = 0)),
  ),
  fault(
    'planes-exchanged',
    'TEN-4',
    'PLANE_ROLES',
    editTensor(({ planes }) => planes.reverse()),
  ),
  fault('plane-length', 'TEN-4', 'PLANE_LENGTH', extra({ shape: [2], planes: [['dense', bytes(5)]] })),
  fault(
    'unknown-encoding-empty-plane',
    'ENC-10',
    'PLANE_LENGTH',
    extra({ shape: [2], encoding: 999, planes: [['dense', bytes(0)]] }),
  ),
  fault('clip-0', 'ACT-2', 'ACTIVATION_INVALID', activation({ clip_low: 0 })),
  fault('knee-15', 'ACT-3', 'ACTIVATION_INVALID', activation({ knee: 15, slope_ratio: 2 })),
  fault('slope-9', 'ACT-3', 'ACTIVATION_INVALID', activation({ knee: 3, slope_ratio: 9 })),
  fault('plane-scale-0', 'ACT-4', 'ACTIVATION_INVALID', activation({ plane_scales: [1, 2, 4, 0] })),
  fault(
    'knee-and-scales',
    'ACT-5',
    'ACTIVATION_INVALID',
    activation({ knee: 3, slope_ratio: 2, plane_scales: [1, 2, 4, 8] }),
  ),
  fault(
    'activation-on-vector',
    'ACT-6 TEN-7',
    'ACTIVATION_INVALID',
    extra({
      shape: [2],
      activation: { scheme: 'dynamic_asymmetric', bits: 4, clip_low: 1, clip_high: 1 },
    }),
  ),
  fault(
    'rotation-on-vector',
    'ROT-3 TEN-8',
    'INPUT_ROTATION_INVALID',
    extra({ shape: [2], input_rotation: 'hadamard' }),
  ),
  fault('rotation-on-embedding', 'ROT-3', 'INPUT_ROTATION_INVALID', {
    what: { encodings: { 'embed_tokens.weight': { input_rotation: 'hadamard' } } },
  }),
  fault('rotation-on-head', 'ROT-3', 'INPUT_ROTATION_INVALID', {
    what: {
      architecture: { tied_head: false },
      encodings: { 'lm_head.weight': { input_rotation: 'hadamard' } },
    },
  }),
  fault(
    'rotation-too-wide',
    'ROT-3',
    'INPUT_ROTATION_INVALID',
    extra({
      shape: [1, 2 ** 29 + 1],
      encoding: 999,
      planes: [['dense', bytes(1)]],
      input_rotation: 'hadamard',
    }),
  ),
  fault('rotation-without-feature', 'ROT-2', 'FEATURE_MISMATCH', {
    what: { encodings: { 'q_proj.weight': { input_rotation: 'hadamard' } } },
    tree: (_, model) => (model.incompatible = 0n),
  }),
  fault('feature-without-rotation', 'ROT-2', 'FEATURE_MISMATCH', {
    tree: (_, model) => (model.incompatible = 2n),
  }),
  fault(
    'block-missing',
    'TEN-5',
    'TENSOR_MISSING',
    edit((tree) => (tree.architecture.block_count = 2)),
  ),
  fault(
    'width-mismatch',
    'TEN-5',
    'TENSOR_MISMATCH',
    edit((tree) => (tree.architecture.intermediate_size = 16)),
  ),
];

export const listMeaningFaults = () => [...READABLE, ...HYPERPARAMETERS, ...ENTRIES];
