// What the backend would measure of this adapter at first use: every choice of every stage, the others by the rules.
import { createStopwatch, listStages } from '@duobit/runtime-web';
import { open } from './open.mjs';

export async function measureTuning(record, { quick = false } = {}) {
  const backend = await open({ tuning: {} });
  try {
    const options = quick ? { repeats: { product: 1, attention: 1 }, size: 512 } : {};
    const { measure, now } = createStopwatch(backend.device, backend.kv, options);
    const begun = now();
    for (const { subject, choices } of listStages(backend.device))
      for (const choice of choices) {
        const milliseconds = await measure(subject, choice);
        record('tuning', { subject, choice, milliseconds });
        console.log(
          `${subject.padEnd(10)} ${JSON.stringify(choice).padEnd(20)} ${milliseconds.toFixed(3)} ms`,
        );
      }
    const total = now() - begun;
    record('tuning-total', { milliseconds: total });
    console.log(`all of it, kernels compiled: ${total.toFixed(0)} ms`);
  } finally {
    await backend.dispose();
  }
}
