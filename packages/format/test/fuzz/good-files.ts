// The files that the fuzzer damages, and where their hashes are, so that damage can be hidden from them.
import {
  type Architecture,
  createMemorySink,
  createMemorySource,
  type Encoding,
  fromHex,
  LIMITS,
  type MemorySink,
  openContainer,
  splitContainer,
  type TensorSpec,
} from '@duobit/format';
import { encodeHeader } from '../../src/header-encode.ts';
import type { Plane } from '../../src/manifest.ts';
import { alignUp } from '../../src/preamble.ts';
import { forgeHeader, readContent, rehashHeader } from '../forge.ts';
import { listTensors, makeSpec, writeSample } from '../sample.ts';

/** A chunk of data, and the byte of the header at which its hash begins. */
export interface HashedChunk {
  readonly start: number;
  readonly length: number;
  readonly hashAt: number;
}

export interface GoodFile {
  readonly name: string;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly headerLength: number;
  readonly segmentBase: number;
  readonly chunks: readonly HashedChunk[];
  /** The files beside it, by name, which stay as they are. */
  readonly beside: ReadonlyMap<string, Uint8Array<ArrayBuffer>>;
}

/** Every chunk's place, found by its hash: each stands in the header once as 32 bytes in a row. */
async function describeFile(
  name: string,
  bytes: Uint8Array<ArrayBuffer>,
  beside: GoodFile['beside'] = new Map(),
): Promise<GoodFile> {
  const { manifest } = await openContainer(createMemorySource(bytes));
  const header = Buffer.from(bytes.buffer, 0, manifest.headerLength);
  const own = manifest.segments.filter(({ file }) => file === 0);
  const chunks = own.flatMap((segment) =>
    segment.chunkHashes.map((hash, i): HashedChunk => {
      const start = segment.offset + i * LIMITS.chunkBytes;
      const length = Math.min(LIMITS.chunkBytes, segment.length - i * LIMITS.chunkBytes);
      return { start, length, hashAt: header.indexOf(fromHex(hash)) };
    }),
  );
  for (const { hashAt } of chunks) {
    if (hashAt < LIMITS.preambleBytes) throw new Error(`${name}: a chunk hash is not in the header`);
  }
  const segmentBase = alignUp(manifest.headerLength, LIMITS.segmentAlignment);
  return { name, bytes, headerLength: manifest.headerLength, segmentBase, chunks, beside };
}

const TINY: Architecture = {
  family: 'mistral',
  vocabularySize: 3,
  hiddenSize: 4,
  intermediateSize: 5,
  blockCount: 1,
  headCount: 2,
  kvHeadCount: 1,
  headSize: 2,
  contextLength: 8,
  normEpsilon: 1e-5,
  ropeTheta: 10_000,
  ropeScaling: { kind: 'linear', factor: 2 },
  slidingWindow: 4,
  tiedHead: true,
};

/** As few planes as a model can have with a quantized tensor among them. */
function listTinyTensors(): TensorSpec[] {
  const w11: Encoding = { kind: 'w11', groupSize: 32, offsets: true };
  const tensor = (name: string, shape: number[], encoding: Encoding = { kind: 'f16' }): TensorSpec => ({
    name,
    shape,
    encoding,
    activation:
      encoding.kind === 'w11' ? { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null } : null,
  });
  const prefix = 'model.layers.0';
  return [
    tensor('model.embed_tokens.weight', [3, 4], { kind: 'int8', groupSize: 32 }),
    tensor(`${prefix}.input_layernorm.weight`, [4], { kind: 'f32' }),
    tensor(`${prefix}.self_attn.q_proj.weight`, [4, 4], w11),
    tensor(`${prefix}.self_attn.k_proj.weight`, [2, 4]),
    tensor(`${prefix}.self_attn.v_proj.weight`, [2, 4]),
    tensor(`${prefix}.self_attn.o_proj.weight`, [4, 4]),
    tensor(`${prefix}.post_attention_layernorm.weight`, [4]),
    tensor(`${prefix}.mlp.gate_proj.weight`, [5, 4]),
    tensor(`${prefix}.mlp.up_proj.weight`, [5, 4]),
    tensor(`${prefix}.mlp.down_proj.weight`, [4, 5]),
    tensor('model.norm.weight', [4], { kind: 'bf16' }),
  ];
}

/**
 * A whole model with all its planes in one segment, which is right though the writer would make more: padding
 * between segments would be most of the file.
 */
async function makeTinyFile(): Promise<Uint8Array<ArrayBuffer>> {
  const spec = makeSpec({
    architecture: TINY,
    specialTokens: { bos: 1, eos: [2], pad: null, addBos: true },
    assets: [{ role: 'chat-template', mediaType: 'text/plain', bytes: new TextEncoder().encode('{{ m }}') }],
    tensors: listTinyTensors(),
    metadata: { key: 'välue' },
  });
  const { bytes } = await writeSample(spec, 3);
  const { content, manifest } = await readContent(bytes);
  const parts: Uint8Array[] = [];
  let end = 0;
  const move = (place: Pick<Plane, 'segment' | 'offset' | 'length'>) => {
    const from = manifest.segments[place.segment]!.offset + place.offset;
    const offset = alignUp(end, LIMITS.planeAlignment);
    parts.push(new Uint8Array(offset - end), bytes.subarray(from, from + place.length));
    end = offset + place.length;
    return { segment: 0, offset };
  };
  for (const asset of content.assets) Object.assign(asset, move(asset));
  for (const tensor of content.tensors) {
    for (const plane of tensor.planes) Object.assign(plane, move(plane));
  }
  const data = new Uint8Array(Buffer.concat(parts));
  const chunkHashes = new Uint8Array(await crypto.subtle.digest('SHA-256', data));
  content.segments = [{ ...content.segments[0]!, name: 'all', offset: 0, length: data.length, chunkHashes }];
  const base = alignUp(encodeHeader(content, 0, 0).length, LIMITS.segmentAlignment);
  const file = new Uint8Array(base + data.length);
  file.set(encodeHeader(content, base, file.length));
  file.set(data, base);
  return rehashHeader(file);
}

/** The sample, with optional parts that it lacks. */
async function makeVariedFile(): Promise<Uint8Array<ArrayBuffer>> {
  const spec = makeSpec();
  const text = (value: string) => new TextEncoder().encode(value);
  const { bytes } = await writeSample(
    {
      ...spec,
      architecture: {
        ...spec.architecture,
        tiedHead: true,
        slidingWindow: 32,
        ropeScaling: {
          kind: 'llama3',
          factor: 8,
          lowFrequencyFactor: 1,
          highFrequencyFactor: 4,
          originalContextLength: 8192,
        },
      },
      assets: [
        ...spec.assets,
        { role: 'license', mediaType: 'text/plain', bytes: text('none') },
        { role: 'generation-config', mediaType: 'application/json', bytes: text('{}') },
      ],
      tensors: listTensors().filter(({ name }) => name !== 'lm_head.weight'),
      provenance: { ...spec.provenance, calibrationSha256: 'cd'.repeat(32) },
    },
    5,
  );
  return bytes;
}

/** The sample as a later release may write it: an encoding, plane roles and an asset role that are not known yet. */
async function makeFutureFile(): Promise<Uint8Array<ArrayBuffer>> {
  const { bytes } = await writeSample(makeSpec(), 9);
  return forgeHeader(bytes, (content) => {
    const tensor = content.tensors.find(({ encoding }) => encoding.kind === 'int4')!;
    tensor.encoding = {
      kind: 'unknown',
      id: 4711,
      groupSize: 48,
      flags: 6,
      outlierColumns: 5,
      salientCount: 7,
    };
    for (const [i, plane] of tensor.planes.entries()) plane.role = `unknown-${700 + i}`;
    content.assets.at(-1)!.role = 'unknown-99';
  });
}

/** The tiny model's like with its weights in two data files. */
async function makeShardedFile(): Promise<GoodFile> {
  const spec = makeSpec({
    architecture: TINY,
    specialTokens: { bos: 1, eos: [2], pad: null, addBos: true },
    tensors: listTinyTensors(),
    assets: [{ role: 'license', mediaType: 'text/plain', bytes: new TextEncoder().encode('none') }],
  });
  const source = createMemorySource((await writeSample(spec, 4)).bytes);
  const sinks = new Map<string | null, MemorySink>();
  const openSink = async (name: string | null) => {
    const sink = createMemorySink(name ?? 'header');
    sinks.set(name, sink);
    return sink;
  };
  const dataFileName = (index: number) => `part-${index}`;
  await splitContainer(source, openSink, { maxDataFileBytes: 20_000, dataFileName });
  const beside = new Map<string, Uint8Array<ArrayBuffer>>();
  for (const [name, sink] of sinks) if (name !== null) beside.set(name, sink.bytes());
  return describeFile('sharded', sinks.get(null)!.bytes(), beside);
}

/** Every file, the smallest of one piece first. */
export async function makeGoodFiles(): Promise<GoodFile[]> {
  return [
    await describeFile('tiny', await makeTinyFile()),
    await describeFile('sample', (await writeSample()).bytes),
    await describeFile('varied', await makeVariedFile()),
    await describeFile('future', await makeFutureFile()),
    await makeShardedFile(),
  ];
}
