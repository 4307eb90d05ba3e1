// Put before the scripts of the page, so that tests can count GPU buffers and lose devices in every thread.
import { countBuffers, loseDevices, watchGpu } from '../running/gpu-watch.ts';

watchGpu();
Object.assign(globalThis, { countBuffers, loseDevices });
