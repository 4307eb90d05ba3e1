// One thread of `npm run fuzz`: takes runs of cases, counts, and measures its own memory.
import { parentPort, workerData } from 'node:worker_threads';
import { createCampaigns, createTally, type Failure, runCases, type Tally } from './campaign.ts';

/** What the main thread sends: cases `from` to `to` of a campaign. */
export interface Task {
  readonly campaign: 'exhaustive' | 'repaired' | 'random';
  readonly from: number;
  readonly to: number;
}

export interface TaskResult {
  readonly tally: Tally;
  readonly failure: Failure | null;
  /** Bytes in use after a full garbage collection: heap and array buffers; null without --expose-gc. */
  readonly memory: number | null;
}

interface Settings {
  readonly knownCodes: readonly string[];
  readonly seed: number;
  readonly randomCases: number;
  /** One number, where the thread notes the case it is at. */
  readonly progress: SharedArrayBuffer;
}

function measureMemory(): number | null {
  if (!globalThis.gc) return null;
  globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function serve({ knownCodes, seed, randomCases, progress }: Settings): Promise<void> {
  const port = parentPort;
  if (!port) throw new Error('not a worker');
  const campaigns = await createCampaigns(new Set(knownCodes));
  const { exhaustive, repaired } = campaigns;
  const current = new Int32Array(progress);
  const list = { exhaustive, repaired, random: campaigns.random(seed, randomCases) };
  port.on('message', (task: Task) => {
    const tally = createTally();
    const note = (index: number) => Atomics.store(current, 0, index);
    runCases(list[task.campaign], task.from, task.to, tally, note).then((failure) => {
      const result: TaskResult = { tally, failure, memory: measureMemory() };
      port.postMessage(result);
    });
  });
  port.postMessage({
    ready: true,
    cases: { exhaustive: exhaustive.cases, repaired: repaired.cases, random: randomCases },
    files: campaigns.files.map(({ name, bytes, headerLength }) => ({
      name,
      bytes: bytes.length,
      headerLength,
    })),
  });
}

await serve(workerData);
