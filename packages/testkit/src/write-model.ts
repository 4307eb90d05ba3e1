// A model as a container: what tests of readers and loaders need files of.
import { type ByteSink, createContainerWriter, type ModelSource, type TensorInfo } from '@duobit/format';

/** Writes all tensors and the tokenizer, where there is one, and finishes the sink. */
export async function writeModel(source: ModelSource, sink: ByteSink): Promise<void> {
  const assets = [];
  for (const role of ['tokenizer', 'tokenizer-config'] as const) {
    const bytes = await source.readAsset(role);
    if (bytes) assets.push({ role, mediaType: 'application/json', bytes });
  }
  const writer = await createContainerWriter(
    {
      architecture: source.architecture,
      specialTokens: source.specialTokens,
      assets,
      tensors: source.tensorNames.map((name) => source.tensorInfo(name) as TensorInfo),
      provenance: {
        producer: 'duobit test',
        sourceName: 'tiny',
        sourceSha256: '0'.repeat(64),
        recipe: '{}',
        calibrationSha256: null,
      },
      metadata: {},
    },
    sink,
  );
  for (const name of writer.order) await writer.writeTensor(name, (await source.readTensor(name)).planes);
  await writer.finish();
}
