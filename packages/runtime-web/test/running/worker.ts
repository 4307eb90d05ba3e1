// The ready worker, with its GPU watched.
import '../../src/worker/entry.ts';
import { countBuffers, loseDevices, watchGpu } from './gpu-watch.ts';

watchGpu();
self.addEventListener('message', ({ data }) => {
  if (data === 'lose devices') loseDevices();
  if (data === 'count buffers') self.postMessage(countBuffers());
});
