// The conformance corpus: every file of fixtures/ against its twin. A new file adds a test by being there.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import {
  type AssetRole,
  createContainerWriter,
  createMemorySink,
  createMemorySource,
  DuobitError,
  decodeTensor,
  LIMITS,
  openContainer,
  sha256,
  toHex,
  validateContainer,
} from '@duobit/format';
import { describe, expect, it } from 'vitest';
import { manifestToJson } from './json-form.ts';

const FIXTURES = new URL('../../../fixtures/', import.meta.url);
const FOLDERS = ['good', 'malformed', 'invalid', 'future'] as const;

interface Twin {
  readonly covers: readonly string[];
  readonly data_files: readonly string[];
}

interface GoodTwin extends Twin {
  readonly header_sha256: string;
  readonly canonical: boolean;
  readonly manifest: unknown;
  readonly values: Readonly<Record<string, { readonly sha256: string; readonly first: readonly number[] }>>;
}

interface BadTwin extends Twin {
  readonly code: string;
  readonly codes: readonly string[];
  readonly stage: 'open' | 'data';
}

function listFiles() {
  return FOLDERS.flatMap((folder) =>
    readdirSync(new URL(`${folder}/`, FIXTURES))
      .filter((name) => name.endsWith('.duo'))
      .map((name) => ({ folder, name: name.slice(0, -'.duo'.length) })),
  ).map(({ folder, name }) => {
    const twin = JSON.parse(readFileSync(new URL(`${folder}/${name}.json`, FIXTURES), 'utf8')) as
      | GoodTwin
      | BadTwin;
    return { folder, name, twin, title: `${folder}/${name} [${twin.covers.join('] [')}]` };
  });
}

const readFixture = (folder: string, name: string) =>
  new Uint8Array(readFileSync(new URL(`${folder}/${name}`, FIXTURES)));

/** The source of a file of the corpus, and how its data files are found beside it. */
function sourcesOf(folder: string, name: string) {
  const openDataFile = async (file: string) => {
    if (!existsSync(new URL(`${folder}/${file}`, FIXTURES))) {
      throw new DuobitError('SOURCE_MISSING', `there is no ${file}`, { source: file });
    }
    return createMemorySource(readFixture(folder, file), file);
  };
  return { source: createMemorySource(readFixture(folder, `${name}.duo`), name), options: { openDataFile } };
}

const files = listFiles();

describe('files that are read', () => {
  it.each(files.filter(({ twin }) => 'manifest' in twin))('$title', async ({ folder, name, twin }) => {
    const good = twin as GoodTwin;
    const { source, options } = sourcesOf(folder, name);
    const report = await validateContainer(source, options);
    expect(report.problems).toEqual([]);

    const container = await openContainer(source, options);
    expect(container.manifest.headerSha256).toBe(good.header_sha256);
    expect(manifestToJson(container.manifest)).toEqual(good.manifest);
    const values: Record<string, { sha256: string; first: number[] }> = {};
    for (const tensor of container.manifest.tensors) {
      if (tensor.encoding.kind === 'unknown') {
        await expect(container.readTensor(tensor.name)).rejects.toMatchObject({ code: 'ENCODING_UNKNOWN' });
        continue;
      }
      const decoded = decodeTensor(await container.readTensor(tensor.name));
      const little = new DataView(new ArrayBuffer(4 * decoded.length));
      for (const [i, value] of decoded.entries()) little.setFloat32(4 * i, value, true);
      const hash = toHex(await sha256(new Uint8Array(little.buffer)));
      values[tensor.name] = { sha256: hash, first: Array.from(decoded.subarray(0, 8)) };
    }
    expect(values).toEqual(good.values);
    for (const asset of container.manifest.assets) {
      if (asset.role.startsWith('unknown-')) continue;
      const bytes = await container.readAsset(asset.role as Parameters<typeof container.readAsset>[0]);
      expect(bytes?.length).toBe(asset.length);
    }
    await container.close();
  });

  it.each(files.filter(({ twin }) => 'manifest' in twin))(
    'canonical form of $folder/$name [CAN-3] [EVO-9]',
    async ({ folder, name, twin }) => {
      const { source, options } = sourcesOf(folder, name);
      const report = await validateContainer(source, { ...options, canonical: true });
      const newer = (report.manifest?.formatVersion.minor ?? 0) > LIMITS.formatMinor;
      // A newer minor version cannot be checked, which is no problem of the file.
      expect(report.problems.length === 0).toBe((twin as GoodTwin).canonical || newer);
      expect(report.problems.every(({ code }) => code.startsWith('CANONICAL_'))).toBe(true);
    },
  );
});

/** Canonical files in one piece: the writer has nothing to choose. */
const canonical = files.filter(
  ({ twin }) => 'manifest' in twin && (twin as GoodTwin).canonical && twin.data_files.length === 0,
);

it.each(canonical)(
  'the writer makes the same bytes: $folder/$name [CAN-4] [CAN-5] [CAN-6]',
  async ({ folder, name }) => {
    const { source } = sourcesOf(folder, name);
    const container = await openContainer(source);
    const { manifest } = container;
    const { architecture, specialTokens, tensors, provenance, metadata, kvCache } = manifest;
    const assets = await Promise.all(
      manifest.assets.map(async ({ role, mediaType }) => {
        const known = role as AssetRole;
        return { role: known, mediaType, bytes: (await container.readAsset(known))! };
      }),
    );
    const spec = { architecture, specialTokens, assets, tensors, provenance, metadata, kvCache };
    const sink = createMemorySink();
    const writer = await createContainerWriter(spec, sink);
    for (const tensor of writer.order)
      await writer.writeTensor(tensor, (await container.readTensor(tensor)).planes);
    await writer.finish();
    expect(sink.bytes()).toEqual(readFixture(folder, `${name}.duo`));
  },
);

describe('files that are refused [VAL-1] [VAL-2] [VAL-3]', () => {
  it.each(files.filter(({ twin }) => 'code' in twin))('$title', async ({ folder, name, twin }) => {
    const { code, codes, stage } = twin as BadTwin;
    const { source, options } = sourcesOf(folder, name);
    const report = await validateContainer(source, options);
    expect(report.problems[0]?.code).toBe(code);
    expect([...new Set(report.problems.map((problem) => problem.code))].sort()).toEqual(codes);

    const opening = openContainer(source, options);
    if (stage === 'open') await expect(opening).rejects.toMatchObject({ code });
    else if (code.startsWith('DATA_FILE_')) {
      // A reader may find this when it opens the model, when it touches the file, or not at all.
      await opening.then(
        (container) => container.close(),
        (error) => expect(error).toMatchObject({ code }),
      );
    } else await expect(opening).resolves.toBeDefined();
  });
});

it('every file of the folders has a twin or belongs to one', () => {
  for (const folder of FOLDERS) {
    const known = files
      .filter((file) => file.folder === folder)
      .flatMap(({ name, twin }) => [`${name}.duo`, `${name}.json`, ...twin.data_files]);
    expect(readdirSync(new URL(`${folder}/`, FIXTURES)).filter((file) => !known.includes(file))).toEqual([]);
  }
});
