// The page of check-browser.mjs and the Web Worker that it starts, both from this file.
import { runJob } from './job.mjs';

if (typeof document === 'undefined') {
  self.onmessage = async ({ data }) => self.postMessage(await answer(data));
} else {
  const jobs = await (await fetch('/jobs')).json();
  const answers = [];
  for (const job of jobs) answers.push(job.where === 'page' ? await answer(job) : await runInWorker(job));
  await fetch('/answer', { method: 'POST', body: JSON.stringify(answers) });
}

async function answer({ options }) {
  try {
    return await runJob(options);
  } catch (error) {
    return { error: String(error.stack ?? error) };
  }
}

function runInWorker(job) {
  const worker = new Worker('/page.js', { type: 'module' });
  return new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => resolve({ error: message });
    worker.postMessage(job);
  }).finally(() => worker.terminate());
}
