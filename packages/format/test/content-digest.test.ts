// The content digest of the corpus: equal for the same content in other packings, and defined for what is unknown.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import {
  type AssetRole,
  type Container,
  contentDigest,
  createContainerWriter,
  createMemorySink,
  createMemorySource,
  openContainer,
} from '@duobit/format';
import { expect, it } from 'vitest';

const FIXTURES = new URL('../../../fixtures/', import.meta.url);
const hash = (bytes: Uint8Array | string) => createHash('sha256').update(bytes).digest('hex');

async function readFixture(name: string) {
  const path = fileURLToPath(new URL(name, FIXTURES));
  const bytes = new Uint8Array(await readFile(path));
  const container = await openContainer(createMemorySource(bytes, name));
  return { bytes, container, digest: await contentDigest(container) };
}

/** The same content, written anew in canonical form. */
async function repack({ bytes, container }: Awaited<ReturnType<typeof readFixture>>) {
  const { manifest } = container;
  const assets = manifest.assets.map(({ role, mediaType, segment, offset, length }) => {
    const start = manifest.segments[segment]!.offset + offset;
    return { role: role as AssetRole, mediaType, bytes: bytes.slice(start, start + length) };
  });
  const sink = createMemorySink();
  const writer = await createContainerWriter({ ...manifest, assets, metadata: { packed: 'again' } }, sink);
  for (const name of writer.order) await writer.writeTensor(name, (await container.readTensor(name)).planes);
  await writer.finish();
  return openContainer(createMemorySource(sink.bytes()));
}

const places = ({ manifest }: Container) =>
  manifest.tensors.flatMap(({ planes }) => planes.map(({ segment, offset }) => [segment, offset]));

it('is the same for a model that is packed anew, with other metadata, and in newer versions [DIG-1]', async () => {
  const original = await readFixture('good/other-order.duo');
  const packed = await repack(original);
  expect(places(packed)).not.toEqual(places(original.container));
  expect(packed.manifest.segments.length).toBeGreaterThan(original.container.manifest.segments.length);
  expect(await contentDigest(packed)).toEqual(original.digest);
  for (const name of ['future/compatible-feature.duo', 'future/newer-minor.duo']) {
    const other = await readFixture(name);
    expect(other.container.manifest.headerSha256).not.toBe(original.container.manifest.headerSha256);
    expect(other.digest).toEqual(original.digest);
  }
  const { digest } = await readFixture('good/minimal.duo');
  expect(digest.sha256).not.toBe(original.digest.sha256);
});

it('counts tensors of unknown encodings and assets of unknown roles [DIG-8]', async () => {
  const { bytes, container, digest } = await readFixture('future/unknown-encoding.duo');
  const [segment] = container.manifest.segments;
  const hashAt = (offset: number, length: number) =>
    hash(bytes.subarray(segment!.offset + offset, segment!.offset + offset + length));
  // Two planes of one role stay in their order.
  const planes = [
    `{"role":4,"sha256":"${hashAt(1024, 7)}"}`,
    `{"role":4,"sha256":"${hashAt(1280, 1)}"}`,
    `{"role":555,"sha256":"${hashAt(1536, 300)}"}`,
  ];
  const encoding = '{"flags":6,"group_size":48,"id":999,"outlier_columns":3,"salient_count":5}';
  const find = (name: string) => digest.tensors.find((tensor) => tensor.name === name)!;
  expect(find('model.layers.0.self_attn.q_proj.weight').sha256).toBe(
    hash(`{"encoding":${encoding},"planes":[${planes}],"shape":[8,8]}`),
  );
  expect(find('model.layers.0.self_attn.k_proj.weight').sha256).toBe(
    hash('{"encoding":{"id":0},"planes":[],"shape":[4,8]}'),
  );
  expect(digest.text).toContain(
    `"assets":[{"role":5,"sha256":"${hashAt(0, 4)}"},{"role":77,"sha256":"${hashAt(256, 5)}"}]`,
  );
});
