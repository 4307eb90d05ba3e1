// A checkpoint with its linear layers as a stage left them, to be run before there is a container.
import type { ActivationQuantizer, ModelSource, TensorData } from '@duobit/format';
import type { Checkpoint } from '../checkpoint/checkpoint.ts';
import type { PackedLayer } from '../methods/layer-method.ts';
import type { BlockLayers } from './block-store.ts';

/**
 * Embedding, head and norms are the checkpoint's. All packed layers are in memory.
 * @param load layers of a block
 */
export async function quantizedSource(
  checkpoint: Checkpoint,
  load: (block: number) => Promise<BlockLayers>,
): Promise<ModelSource> {
  const layers = new Map<string, PackedLayer & { readonly activation: ActivationQuantizer }>();
  for (let block = 0; block < checkpoint.architecture.blockCount; block++)
    for (const [name, { result, activation }] of await load(block))
      layers.set(name, { ...result.packed!, activation });
  const tensorInfo = (name: string): TensorData['info'] => {
    const info = checkpoint.tensorInfo(name);
    const layer = layers.get(name);
    return layer ? { ...info, encoding: layer.encoding, activation: layer.activation } : info;
  };
  return {
    name: checkpoint.name,
    architecture: checkpoint.architecture,
    specialTokens: checkpoint.specialTokens,
    tensorNames: checkpoint.tensorNames,
    tensorInfo,
    async readTensor(name) {
      const layer = layers.get(name);
      return layer ? { info: tensorInfo(name), planes: layer.planes } : checkpoint.readTensor(name);
    },
    readAsset: (role) => checkpoint.readAsset(role),
    close: async () => {},
  };
}
