// The child process of one measurement: gets a job over IPC, runs one engine on one file, answers, and ends. Nothing of
// another engine is loaded, so peak memory and the state of the caches are this engine's own.
import { negativeLogLikelihood } from '@duobit/quantizer';

const ENGINES = {
  duobit: './ours.mjs',
  'llama.cpp': './peers/llama-cpp.mjs',
};

process.once('message', async (job) => {
  let answer;
  try {
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
      // Counted in KiB on every platform that Node runs on.
      peakRssBytes: usage.maxRSS * 1024,
      cpuSeconds: (usage.userCPUTime + usage.systemCPUTime) / 1e6,
      library: prepared.describe(),
    };
  } catch (error) {
    answer = { error: error.stack ?? String(error) };
  }
  process.send(answer, () => process.exit(0));
});

const TASKS = {
  /** Prefill of each length from an empty cache, and decode after the first of them; tokens a second. */
  async speed(engine, { tokens, prompts, decode }) {
    await engine.prefill(tokens.slice(0, prompts[0]));
    for (const token of tokens.slice(0, Math.min(8, decode))) await engine.step(token);
    const prefill = {};
    let decodeRate = null;
    let decodeCpuRate = null;
    for (const length of prompts) {
      const begun = performance.now();
      await engine.prefill(tokens.slice(0, length));
      prefill[length] = (1000 * length) / (performance.now() - begun);
      if (decodeRate !== null) continue;
      // The text goes on whatever the model would have said, so that every engine runs the same tokens.
      const continuation = tokens.slice(length, length + decode);
      const started = performance.now();
      const usage = process.cpuUsage();
      for (const token of continuation) await engine.step(token);
      decodeRate = (1000 * continuation.length) / (performance.now() - started);
      const { user, system } = process.cpuUsage(usage);
      decodeCpuRate = (1e6 * continuation.length) / (user + system);
    }
    return { prefill, decode: decodeRate, decodePerCpuSecond: decodeCpuRate };
  },

  async perplexity(engine, { windows }) {
    let sum = 0;
    let predictions = 0;
    for (const window of windows) {
      sum += await engine.windowLoss(window, negativeLogLikelihood);
      predictions += window.length - 1;
    }
    return { perplexity: Math.exp(sum / predictions), predictions };
  },
};
