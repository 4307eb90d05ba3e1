import { library } from '../../tsup.base.ts';

// Those of WebGPU are made of the DOM's. Programs for Node, which have none, get them through @duobit/runtime-node.
export default library({ index: 'src/index.ts', worker: 'src/worker/entry.ts' }, [
  'lib="dom"',
  'types="@webgpu/types"',
]);
