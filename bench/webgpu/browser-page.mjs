// In the page: the conformance suite on the browser's WebGPU, one variant after the other; answers go to the server.
import { createWebGpuBackend } from '@duobit/runtime-web';
import { conformanceCases } from '@duobit/testkit';

const say = (message) => fetch('/say', { method: 'POST', body: JSON.stringify(message) });

async function runSuite({ name, options, filter }) {
  const backend = await createWebGpuBackend({ gpu: navigator.gpu, kv: 'f32', ...options });
  let passed = 0;
  const failures = [];
  for (const one of conformanceCases('f32')) {
    if (!new RegExp(filter).test(one.name)) continue;
    try {
      await one.run(backend);
      passed += 1;
    } catch (error) {
      failures.push(`${one.name}: ${error.message}`);
    }
  }
  const info = backend.device.adapter;
  await backend.dispose();
  return {
    name,
    variant: backend.instructionSet,
    adapter: `${info.vendor} ${info.architecture} ${info.description}`,
    passed,
    failures,
  };
}

try {
  for (const job of await (await fetch('/jobs')).json()) await say(await runSuite(job));
  await say({ done: true });
} catch (error) {
  await say({ done: true, error: String(error?.stack ?? error) });
}
