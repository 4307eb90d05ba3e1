// One measurement in the page: gets the job and the file from the local server, runs one engine, posts the answer.
// The file is in memory as a Blob before anything is timed, for all engines, so that no server is measured.

import { measureSteps } from '/steps.mjs';

const ENGINES = {
  duobit: (job, file) => runInWorker('/bundle/ours-worker.js', job, file),
  'transformers.js': (job, file) => runInWorker('/transformers-worker.mjs', job, file),
  'wllama 2': runWllama2,
  'wllama 3': runWllama3,
};

try {
  if (!crossOriginIsolated) throw new Error('the page is not cross-origin isolated: no threads');
  const job = await (await fetch('/job')).json();
  const file = await (await fetch('/file')).blob();
  await post(await ENGINES[job.engine](job, file));
} catch (error) {
  await post({ error: error.stack ?? String(error) });
}

function post(answer) {
  return fetch('/answer', { method: 'POST', body: JSON.stringify(answer) });
}

/** Ours and transformers.js run in a worker of the page's, as they would in an application; wllama makes its own. */
function runInWorker(script, job, file) {
  const worker = new Worker(script, { type: 'module' });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(`the worker failed: ${message}`));
    worker.postMessage({ job, file });
  });
}

/**
 * wllama 3 runs llama.cpp's server in its worker and takes texts only: it has no call for given tokens. So it gets the
 * texts of the same prompts and decodes its own greedy continuation, and the times are those that the server takes
 * itself. Between two tokens the worker answers one message of the page, as it does for every user of wllama.
 */
async function runWllama3({ threads, texts, prompts, decode, contextLength }, file) {
  const { Wllama, LoggerWithoutDebug } = await import('/peers/@wllama/wllama/esm/index.js');
  const begun = performance.now();
  const wllama = new Wllama(
    { default: '/peers/@wllama/wllama/esm/wasm/wllama.wasm' },
    { logger: LoggerWithoutDebug, suppressNativeLog: true },
  );
  await wllama.loadModel([file], {
    n_threads: threads,
    n_ctx: contextLength,
    n_gpu_layers: 0,
    n_parallel: 1,
  });
  const loadSeconds = (performance.now() - begun) / 1000;
  const complete = async (length, count) => {
    const { timings } = await wllama.createCompletion({
      prompt: texts[length],
      max_tokens: count,
      temperature: 0,
      samplers: ['temperature'],
      ignore_eos: true,
      cache_prompt: false,
    });
    // A text cut between two tokens may be cut into others where it ends, and a BOS token may stand before it.
    if (Math.abs(timings.prompt_n - length) > 2 || timings.predicted_n !== count) {
      throw new Error(
        `wllama ran ${timings.prompt_n} + ${timings.predicted_n} tokens, not ${length} + ${count}`,
      );
    }
    return timings;
  };
  await complete(prompts[0], Math.min(8, decode));
  const prefill = {};
  let decodeRate = null;
  for (const length of prompts) {
    // The first token comes with the prompt: the server counts it, but times those after it.
    const count = decodeRate === null ? decode + 1 : 1;
    const timings = await complete(length, count);
    prefill[length] = (1000 * timings.prompt_n) / timings.prompt_ms;
    decodeRate ??= (1000 * decode) / timings.predicted_ms;
  }
  return {
    prefill,
    decode: decodeRate,
    loadSeconds,
    threadsUsed: wllama.getNumThreads(),
    version: Wllama.getLibllamaVersion(),
  };
}

/** wllama 2 has a call for tokens, so it runs the same ones as every other engine. Each is a message to its worker. */
async function runWllama2({ threads, tokens, prompts, decode, contextLength }, file) {
  const base = '/peers/wllama-2/esm';
  const { Wllama, LoggerWithoutDebug } = await import(`${base}/index.js`);
  const begun = performance.now();
  const wllama = new Wllama(
    {
      'single-thread/wllama.wasm': `${base}/single-thread/wllama.wasm`,
      'multi-thread/wllama.wasm': `${base}/multi-thread/wllama.wasm`,
    },
    { logger: LoggerWithoutDebug, suppressNativeLog: true },
  );
  await wllama.loadModel([file], { n_threads: threads, n_ctx: contextLength });
  const loadSeconds = (performance.now() - begun) / 1000;
  const measured = await measureSteps(tokens, prompts, decode, {
    async prefill(ids) {
      await wllama.kvClear();
      await wllama.decode(ids, {});
    },
    step: (id) => wllama.decode([id], {}),
  });
  return {
    ...measured,
    loadSeconds,
    threadsUsed: wllama.getNumThreads(),
    version: Wllama.getLibllamaVersion(),
  };
}
