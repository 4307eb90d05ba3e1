// The child process of one kernel measurement: ours or ONNX Runtime's, over the same shapes.
import { benchMatvec, createRandom } from '@duobit/core';
import { benchNativeMatvec } from '@duobit/runtime-node';
import { measureChain } from './peers/onnxruntime.mjs';

const GROUP = 128;
const OURS = { native: benchNativeMatvec, wasm: benchMatvec };

process.once('message', async (job) => {
  let answer;
  try {
    answer = { gweights: job.backend !== undefined ? await measureOurs(job) : await measurePeer(job) };
  } catch (error) {
    answer = { error: error.stack ?? String(error) };
  }
  process.send(answer, () => process.exit(0));
});

/** Shapes one after the other; their joint rate is that of all weights in the sum of the times. */
async function measureOurs({ backend, shapes, seconds }) {
  let time = 0;
  let weights = 0;
  for (const { rows, columns } of shapes) {
    const { gweightsPerSecond } = await OURS[backend]({
      rows,
      columns,
      groupSize: GROUP,
      seconds: seconds / shapes.length,
    });
    weights += rows * columns;
    time += (rows * columns) / gweightsPerSecond;
  }
  return weights / time;
}

function measurePeer({ shapes, bits, seconds }) {
  return measureChain({ shapes, bits, seconds, random: createRandom(1) });
}
