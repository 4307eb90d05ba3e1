// The child process of one measurement: gets a job over IPC, runs one engine on one file, answers, and ends. Nothing of
// another engine is loaded, so peak memory and the state of the caches are this engine's own.
import { readPeakRss } from './peak-memory.mjs';
import { measureSteps } from './steps.mjs';

const ENGINES = {
  duobit: './ours.mjs',
  'llama.cpp': './peers/llama-cpp.mjs',
  'transformers.js': './peers/onnx-engine.mjs',
};

process.once('message', async (job) => {
  let answer;
  try {
    if (job.task === 'nothing') {
      answer = { peakRssBytes: readPeakRss() };
      return;
    }
    const { prepareEngine } = await import(ENGINES[job.engine]);
    const prepared = await prepareEngine();
    const begun = performance.now();
    const engine = await prepared.open(job.open);
    const loadSeconds = (performance.now() - begun) / 1000;
    const measured = await TASKS[job.task](engine, job);
    await engine.close();
    const usage = process.resourceUsage();
    answer = {
      ...measured,
      loadSeconds,
      threadsUsed: engine.threads,
      weightBytes: engine.weightBytes,
      peakRssBytes: readPeakRss(),
      cpuSeconds: (usage.userCPUTime + usage.systemCPUTime) / 1e6,
      library: prepared.describe(),
    };
  } catch (error) {
    answer = { error: error.stack ?? String(error) };
  } finally {
    process.send(answer, () => process.exit(0));
  }
});

const TASKS = {
  speed: (engine, { tokens, prompts, decode }) =>
    measureSteps(tokens, prompts, decode, engine, timeProcessor),

  async perplexity(engine, { windows }) {
    // Only here, so that it is in no engine's peak memory.
    const { negativeLogLikelihood } = await import('@duobit/quantizer');
    let sum = 0;
    let predictions = 0;
    for (const window of windows) {
      sum += await engine.windowLoss(window, negativeLogLikelihood);
      predictions += window.length - 1;
    }
    return { perplexity: Math.exp(sum / predictions), predictions };
  },
};

/** Decode a second of processor time of all threads. */
async function timeProcessor(run, count) {
  const before = process.cpuUsage();
  await run();
  const { user, system } = process.cpuUsage(before);
  return { decodePerCpuSecond: (1e6 * count) / (user + system) };
}
