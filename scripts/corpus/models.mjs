// Small whole models for the corpus: what is in them, and where docs/format.md puts it.
import {
  alignUp,
  chunkHashes,
  placeSegments,
  SEGMENT_ALIGNMENT,
  sha256,
  writeHeaderFile,
} from './header.mjs';
import { createRandom, makePlanes } from './planes.mjs';

const MODULES = [
  ['input_layernorm', 'hidden'],
  ['self_attn.q_proj', 'query', 'hidden'],
  ['self_attn.k_proj', 'key', 'hidden'],
  ['self_attn.v_proj', 'key', 'hidden'],
  ['self_attn.o_proj', 'hidden', 'query'],
  ['post_attention_layernorm', 'hidden'],
  ['mlp.gate_proj', 'intermediate', 'hidden'],
  ['mlp.up_proj', 'intermediate', 'hidden'],
  ['mlp.down_proj', 'hidden', 'intermediate'],
];

export const TOKENIZER = '{"model":{"vocab":{"a":0,"b":1,"c":3}},"added_tokens":[{"id":2,"content":"<s>"}]}';

export const ARCHITECTURE = {
  family: 'llama',
  vocabulary_size: 4,
  hidden_size: 8,
  intermediate_size: 12,
  block_count: 1,
  head_count: 2,
  kv_head_count: 1,
  head_size: 4,
  context_length: 16,
  norm_epsilon: 1e-5,
  rope_theta: 10_000,
  tied_head: true,
};

/** Tensors that the architecture needs, all f16 unless `encodings` has something for the end of the name. */
export function neededTensors(architecture, encodings = {}) {
  const sizes = {
    hidden: architecture.hidden_size,
    intermediate: architecture.intermediate_size,
    query: architecture.head_count * architecture.head_size,
    key: architecture.kv_head_count * architecture.head_size,
  };
  const table = [architecture.vocabulary_size, architecture.hidden_size];
  const tensors = [{ name: 'model.embed_tokens.weight', shape: table }];
  for (let block = 0; block < architecture.block_count; block++) {
    for (const [module, ...dimensions] of MODULES) {
      const shape = dimensions.map((size) => sizes[size]);
      tensors.push({ name: `model.layers.${block}.${module}.weight`, shape });
    }
  }
  tensors.push({ name: 'model.norm.weight', shape: [architecture.hidden_size] });
  if (!architecture.tied_head) tensors.push({ name: 'lm_head.weight', shape: table });
  return tensors.map((tensor) => {
    const key = Object.keys(encodings).find((end) => tensor.name.endsWith(end));
    return { ...tensor, encoding: 'f16', ...(key === undefined ? {} : encodings[key]) };
  });
}

/** [stage, block, module], as section "Canonical form" orders data. */
function firstUse(name) {
  const block = /^model\.layers\.(0|[1-9]\d{0,8})\.(.+)\.[^.]+$/.exec(name);
  if (block) {
    const module = MODULES.findIndex(([known]) => known === block[2]);
    return [1, Number(block[1]), module < 0 ? MODULES.length : module];
  }
  if (name.startsWith('model.embed_tokens.')) return [0, 0, 0];
  if (name.startsWith('model.norm.')) return [2, 0, 0];
  return name.startsWith('lm_head.') ? [2, 0, 1] : [3, 0, 0];
}

export function segmentOf(name) {
  const [stage, block] = firstUse(name);
  return ['embedding', `block.${block}`, 'head', 'other'][stage];
}

function byFirstUse(a, b) {
  const [x, y] = [firstUse(a.name), firstUse(b.name)];
  const at = x.findIndex((part, i) => part !== y[i]);
  if (at >= 0) return x[at] - y[at];
  const bias = Number(a.name.endsWith('.bias')) - Number(b.name.endsWith('.bias'));
  return bias || (a.name < b.name ? -1 : 1);
}

const byName = (a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
const text = (value) => (typeof value === 'string' ? new TextEncoder().encode(value) : value);

/**
 * A model of the corpus: { tree, segments, files, dataFiles }, ready for `writeModel`.
 * @param what.tensors entries of the tensor table, with `planes` [[role, bytes], …] where they are not random
 * @param what.segmentOf name of the segment of a tensor; a single name puts everything in one
 * @param what.files file number by segment name; 0 where it has none
 */
export function makeModel(what = {}) {
  const architecture = { ...ARCHITECTURE, ...what.architecture };
  const random = createRandom(what.seed ?? 1);
  const tensors = [...neededTensors(architecture, what.encodings), ...(what.tensors ?? [])].sort(byFirstUse);
  const segments = [];
  const place = (name, bytes) => {
    let index = segments.findIndex((segment) => segment.name === name);
    if (index < 0) index = segments.push({ name, parts: [], length: 0 }) - 1;
    const segment = segments[index];
    const offset = alignUp(segment.length, 256);
    segment.parts.push([offset, bytes]);
    segment.length = offset + bytes.length;
    return { segment: index, offset: BigInt(offset), length: BigInt(bytes.length) };
  };
  const nameOf = typeof what.segmentOf === 'string' ? () => what.segmentOf : (what.segmentOf ?? segmentOf);
  const assets = (what.assets ?? []).map(({ role, media_type, bytes }) => ({
    role,
    media_type,
    ...place(typeof what.segmentOf === 'string' ? what.segmentOf : 'assets', text(bytes)),
  }));
  const table = tensors.map(({ planes, shape, ...tensor }) => {
    const stored = planes ?? makePlanes({ shape, ...tensor }, random);
    return {
      shape: shape.map(BigInt),
      // A copy: faults change it.
      ...structuredClone(tensor),
      planes: stored.map(([role, bytes]) => ({ role, ...place(nameOf(tensor.name), bytes) })),
    };
  });
  const rotated = tensors.some((tensor) => tensor.input_rotation !== undefined);
  const model = {
    segments: segments.map(({ length, parts }) => {
      const bytes = new Uint8Array(length);
      for (const [offset, part] of parts) bytes.set(part, offset);
      return bytes;
    }),
    files: segments.map(({ name }) => what.files?.[name] ?? 0),
    dataFiles: what.dataFiles ?? [],
    incompatible: (what.dataFiles?.length > 0 ? 1n : 0n) | (rotated ? 2n : 0n),
    compatible: what.compatible ?? 0n,
    minor: what.minor ?? (rotated ? 1 : 0),
    order: what.order ?? 'canonical',
    tree: {
      architecture,
      special_tokens: { eos: [0], ...what.special_tokens },
      assets,
      tensors: table.sort(byName),
      segments: segments.map(({ name }) => ({ name })),
      provenance: {
        producer: 'corpus 1',
        source_name: 'made-up',
        source_sha256: new Uint8Array(32).fill(0xab),
        recipe: '{}',
        ...what.provenance,
      },
      metadata: Object.entries(what.metadata ?? {})
        .map(([key, value]) => ({ key, value }))
        .sort((a, b) => (a.key < b.key ? -1 : 1)),
      ...(what.kv_cache ? { kv_cache: what.kv_cache } : {}),
    },
  };
  return fixModel(model);
}

/** Makes places and hashes of segments and data files in the tree right for the bytes of the segments. */
export function fixModel(model) {
  const ends = new Map();
  for (const [i, segment] of model.tree.segments.entries()) {
    const file = model.files[i];
    const offset = alignUp(ends.get(file) ?? 0, SEGMENT_ALIGNMENT);
    ends.set(file, offset + model.segments[i].length);
    segment.offset = BigInt(offset);
    segment.length = BigInt(model.segments[i].length);
    segment.chunk_hashes = chunkHashes(model.segments[i]);
    segment.file = file;
  }
  if (model.dataFiles.length > 0) {
    model.tree.data_files = model.dataFiles.map((name, i) => {
      const bytes = placeSegments(model, i + 1);
      return { name, length: BigInt(bytes.length), sha256: sha256(bytes) };
    });
  }
  return model;
}

/** @returns {Map<string, Uint8Array>} file name -> bytes, the header file first */
export function writeModel(model, name) {
  const written = new Map([[`${name}.duo`, writeHeaderFile(model)]]);
  for (const [i, file] of model.dataFiles.entries()) written.set(file, placeSegments(model, i + 1));
  return written;
}

/** The bytes of a tensor's plane inside its segment; changes to them change the segment. */
export function planeBytes(model, tensorName, role) {
  const tensor = model.tree.tensors.find(({ name }) => name === tensorName);
  const plane = tensor.planes.find((candidate) => candidate.role === role);
  return model.segments[plane.segment].subarray(Number(plane.offset), Number(plane.offset + plane.length));
}
