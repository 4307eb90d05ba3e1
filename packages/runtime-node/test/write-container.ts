// A tiny model as a .duo file.
import { type AssetRole, createContainerWriter, type ModelSource } from '@duobit/format';
import { createFileSink } from '@duobit/format/node';

export async function writeContainer(source: ModelSource, path: string): Promise<void> {
  const roles: AssetRole[] = ['tokenizer', 'tokenizer-config'];
  const assets = [];
  for (const role of roles)
    assets.push({ role, mediaType: 'application/json', bytes: (await source.readAsset(role))! });
  const writer = await createContainerWriter(
    {
      architecture: source.architecture,
      specialTokens: source.specialTokens,
      assets,
      tensors: source.tensorNames.map((name) => source.tensorInfo(name)),
      provenance: {
        producer: 'duobit test',
        sourceName: 'tiny',
        sourceSha256: '0'.repeat(64),
        recipe: '{}',
        calibrationSha256: null,
      },
      metadata: {},
    },
    await createFileSink(path),
  );
  for (const name of writer.order) await writer.writeTensor(name, (await source.readTensor(name)).planes);
  await writer.finish();
}
