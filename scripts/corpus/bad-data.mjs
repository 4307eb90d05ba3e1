// Right headers whose places, data or data files are not (steps 5 and 6 of validation).
import { alignUp, rehash } from './header.mjs';
import { planeBytes } from './models.mjs';

const Q = 'model.layers.0.self_attn.q_proj.weight';
const NORM = 'model.norm.weight';

const fault = (name, covers, code, how) => ({ folder: 'invalid', name, covers, code, ...how });
/** Found by a validator only, or when the tensor is read. */
const inData = (name, covers, code, how) => fault(name, covers, code, { stage: 'data', ...how });
const edit = (change) => ({ tree: (tree) => void change(tree) });
const planeOf = (tree, name = NORM, index = 0) =>
  tree.tensors.find((tensor) => tensor.name === name).planes[index];
/** The norm behind the blocks in a segment of its own. */
const TWO = { segmentOf: (name) => (name === NORM ? 'second' : 'first') };

const PLACES = [
  fault('no-segment', 'LAY-7', 'SEGMENT_LAYOUT', {
    codes: ['PLANE_RANGE'],
    ...edit((tree) => (tree.segments = [])),
    raw: dropTail,
  }),
  fault(
    'segment-name',
    'NAM-1',
    'NAME_INVALID',
    edit((tree) => (tree.segments[0].name = '')),
  ),
  fault('segment-twice', 'SEG-1', 'SEGMENT_DUPLICATE', {
    what: TWO,
    ...edit((tree) => (tree.segments[1].name = 'first')),
  }),
  fault('segments-exchanged', 'LAY-4 SEG-2', 'SEGMENT_LAYOUT', {
    codes: ['FILE_LENGTH'],
    what: TWO,
    tree: ({ segments, tensors }) => {
      segments.reverse();
      for (const plane of tensors.flatMap(({ planes }) => planes)) plane.segment = 1 - plane.segment;
    },
  }),
  fault('segment-empty', 'LAY-7', 'SEGMENT_LAYOUT', {
    data: (model) => {
      model.tree.segments.push({ name: 'empty' });
      model.segments.push(new Uint8Array(0));
      model.files.push(0);
    },
  }),
  fault('last-segment-ends-early', 'LAY-6', 'FILE_LENGTH', {
    raw: (file) => {
      const longer = new Uint8Array([...file, 0]);
      new DataView(longer.buffer).setBigUint64(32, BigInt(longer.length), true);
      return rehash(longer);
    },
  }),
  fault('plane-in-no-segment', 'SEG-5', 'PLANE_RANGE', {
    codes: ['SEGMENT_LAYOUT'],
    ...edit((tree) => (planeOf(tree).segment = 7)),
  }),
  fault(
    'plane-beyond-segment',
    'LAY-9 VAL-5',
    'PLANE_RANGE',
    edit((tree) => (planeOf(tree).offset = 2n ** 53n - 1n)),
  ),
  fault('planes-overlap', 'LAY-9', 'PLANE_OVERLAP', {
    codes: ['PLANE_LAYOUT'],
    ...edit((tree) => (planeOf(tree, Q, 1).offset = planeOf(tree, Q, 0).offset)),
  }),
  fault('plane-unaligned', 'LAY-8', 'PLANE_LAYOUT', {
    data: (model) => {
      const plane = planeOf(model.tree);
      plane.offset += 4n;
      const bytes = new Uint8Array(Number(plane.offset + plane.length));
      bytes.set(model.segments[0]);
      model.segments[0] = bytes;
    },
  }),
  fault('segment-unused-end', 'LAY-8', 'SEGMENT_LAYOUT', {
    data: (model) => (model.segments[0] = new Uint8Array([...model.segments[0], 0])),
  }),
];

function dropTail(file) {
  const base = alignUp(new DataView(file.buffer).getUint32(20, true), 16_384);
  const shorter = file.slice(0, base);
  new DataView(shorter.buffer).setBigUint64(32, BigInt(base), true);
  return rehash(shorter);
}

/** Sets bytes of a plane of the q projection; hashes are made right after it. */
const set = (role, at, ...values) => ({
  data: (model) => {
    const plane = planeBytes(model, Q, role);
    plane.set(values, at < 0 ? plane.length + at : at);
  },
});
const encode = (encoding, more = {}) => ({
  encodings: { 'q_proj.weight': { encoding, ...more } },
});
const OUTLIER = encode('w11_outlier', { group_size: 32, flags: 1, outlier_columns: 2 });
const SALIENT = encode('partial_binary', { group_size: 32, salient_count: 9n });
const tokenizer = (bytes) => ({
  what: { assets: [{ role: 'tokenizer', media_type: 'application/json', bytes }] },
});

const VALUES = [
  inData('chunk-hash', 'INT-2 INT-4', 'CHUNK_HASH', {
    raw: (file) => file.with(file.length - 1, file.at(-1) ^ 1),
  }),
  inData('padding-between-planes', 'LAY-10', 'PADDING_NONZERO', {
    data: (model) => (model.segments[0][255] = 1),
  }),
  inData('padding-between-segments', 'LAY-5', 'PADDING_NONZERO', {
    what: TWO,
    raw: (file) => file.with(file.length - 17, 1),
  }),
  inData('f32-nan', 'ENC-4', 'VALUE_NOT_FINITE', {
    what: encode('f32'),
    ...set('dense', -4, 0, 0, 0xc0, 0x7f),
  }),
  inData('alpha-nan', 'ENC-4', 'VALUE_NOT_FINITE', set('alpha', 0, 1, 0x7c)),
  inData('int8-scale-infinite', 'ENC-4', 'VALUE_NOT_FINITE', {
    what: encode('int8', { group_size: 32 }),
    ...set('scale', 0, 0, 0x7c),
  }),
  inData('int8-code', 'ENC-INT8-1', 'CODE_RANGE', {
    what: encode('int8', { group_size: 32 }),
    ...set('codes', 3, 0x80),
  }),
  inData('int8-padding', 'ENC-INT8-2 ENC-3', 'PADDING_NONZERO', {
    what: { architecture: { hidden_size: 6 }, ...encode('int8', { group_size: 32 }) },
    ...set('codes', 7, 1),
  }),
  inData('int4-padding', 'ENC-INT4-2 ENC-3', 'PADDING_NONZERO', {
    what: { architecture: { hidden_size: 5 }, ...encode('int4', { group_size: 32 }) },
    ...set('codes', 2, 0x10),
  }),
  inData('sign-padding', 'ENC-W11-2 ENC-3', 'PADDING_NONZERO', set('sign', 1, 1)),
  inData('outlier-index-unsorted', 'ENC-OUT-3', 'OUTLIER_INDEX', {
    what: OUTLIER,
    ...set('outlier_index', 4, 0),
  }),
  inData('outlier-index-outside', 'ENC-OUT-3', 'OUTLIER_INDEX', {
    what: OUTLIER,
    ...set('outlier_index', 4, 8),
  }),
  inData('outlier-column-has-sign', 'ENC-OUT-2', 'OUTLIER_BITS', { what: OUTLIER, ...set('sign', 0, 1) }),
  inData('outlier-code', 'ENC-OUT-4', 'CODE_RANGE', { what: OUTLIER, ...set('outlier_codes', 0, 0x80) }),
  inData('salient-weight-has-sign', 'ENC-PB-2', 'SALIENT_BITS', { what: SALIENT, ...set('sign', 0, 1) }),
  inData('salient-offset-last', 'ENC-PB-7', 'SALIENT_OFFSETS', {
    what: SALIENT,
    ...set('salient_offsets', -4, 8),
  }),
  inData('salient-mask-count', 'ENC-PB-4', 'SALIENT_OFFSETS', {
    what: SALIENT,
    ...set('salient_mask', 0, 0),
  }),
  inData('salient-padding', 'ENC-PB-5 ENC-3', 'PADDING_NONZERO', {
    what: SALIENT,
    ...set('salient_codes', -1, 1),
  }),
  inData('tokenizer-not-utf-8', 'AST-4', 'TOKENIZER_INVALID', tokenizer(new Uint8Array([0x22, 0xff, 0x22]))),
  inData('tokenizer-deep', 'AST-4', 'TOKENIZER_INVALID', tokenizer(`${'['.repeat(513)}${']'.repeat(513)}`)),
  inData('tokenizer-not-json', 'AST-4', 'TOKENIZER_INVALID', tokenizer('{"model":')),
  inData('tokenizer-large', 'AST-5', 'TOKENIZER_VOCABULARY', tokenizer('{"model":{"vocab":{"a":4}}}')),
];

/** The norm in data file 1. */
const sharded = (name) => ({ ...TWO, dataFiles: [`${name}.duodata`], files: { second: 1 } });
const shard = (name, covers, code, how, make = fault) =>
  make(name, covers, code, { what: sharded(name), ...how });

const DATA_FILES = [
  shard(
    'data-file-name',
    'SHD-2 SEC-2',
    'DATA_FILE_NAME',
    edit((tree) => (tree.data_files[0].name = '../x.duodata')),
  ),
  shard('data-file-twice', 'SHD-2', 'DATA_FILE_NAME', {
    codes: ['DATA_FILE_LAYOUT'],
    ...edit((tree) => tree.data_files.push({ ...tree.data_files[0] })),
  }),
  shard(
    'data-file-hash-31',
    'SHD-3',
    'DATA_FILE_HASH',
    edit((tree) => (tree.data_files[0].sha256 = new Uint8Array(31))),
  ),
  shard('data-file-unused', 'SHD-5', 'DATA_FILE_LAYOUT', {
    codes: ['DATA_FILE_MISSING'],
    ...edit((tree) => tree.data_files.push({ ...tree.data_files[0], name: 'b' })),
  }),
  shard('data-file-short', 'SHD-5', 'DATA_FILE_LAYOUT', {
    codes: ['DATA_FILE_LENGTH'],
    ...edit((tree) => (tree.data_files[0].length -= 1n)),
  }),
  shard(
    'segment-in-no-file',
    'SHD-5',
    'DATA_FILE_LAYOUT',
    edit((tree) => (tree.segments[1].file = 2)),
  ),
  shard('data-files-without-feature', 'SHD-1', 'FEATURE_MISMATCH', {
    tree: (_, model) => (model.incompatible = 0n),
  }),
  fault('feature-without-data-files', 'SHD-1', 'FEATURE_MISMATCH', {
    tree: (_, model) => (model.incompatible = 1n),
  }),
  shard(
    'data-file-missing',
    'SHD-7',
    'DATA_FILE_MISSING',
    { others: (files) => files.delete('data-file-missing.duodata') },
    inData,
  ),
  shard(
    'data-file-longer',
    'SHD-7',
    'DATA_FILE_LENGTH',
    {
      others: (files) =>
        files.set('data-file-longer.duodata', new Uint8Array([...files.get('data-file-longer.duodata'), 0])),
    },
    inData,
  ),
  shard(
    'data-file-hash',
    'SHD-9',
    'DATA_FILE_HASH',
    edit((tree) => (tree.data_files[0].sha256[0] ^= 1)),
    inData,
  ),
  shard(
    'data-file-chunk',
    'SHD-8 INT-2',
    'CHUNK_HASH',
    {
      codes: ['DATA_FILE_HASH'],
      others: (files) => (files.get('data-file-chunk.duodata')[0] ^= 1),
    },
    inData,
  ),
];

export const listDataFaults = () => [...PLACES, ...VALUES, ...DATA_FILES];
