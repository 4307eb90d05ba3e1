// The steps of one measurement of speed, the same for every engine that takes tokens, in Node and in a browser.

/** Tokens decoded before anything is timed. */
const WARM_UP = 8;

/**
 * Prefill of each length from an empty cache, and decode after the first of them. The text goes on whatever the model
 * would have said, so that every engine runs the same tokens.
 * @param engine {prefill(tokens), step(token)}, which end with the logits of the last token
 * @param timeDecode runs what decodes `count` tokens; gives what the record keeps of it besides the rate
 * @returns {{prefill: Record<number, number>, decode: number}} tokens a second
 */
export async function measureSteps(tokens, prompts, decode, engine, timeDecode = (run) => run()) {
  await engine.prefill(tokens.slice(0, prompts[0]));
  for (const token of tokens.slice(0, Math.min(WARM_UP, decode))) await engine.step(token);
  const prefill = {};
  let decoded = null;
  for (const length of prompts) {
    const begun = performance.now();
    await engine.prefill(tokens.slice(0, length));
    prefill[length] = (1000 * length) / (performance.now() - begun);
    if (decoded !== null) continue;
    const continuation = tokens.slice(length, length + decode);
    const started = performance.now();
    const extra = await timeDecode(async () => {
      for (const token of continuation) await engine.step(token);
    }, continuation.length);
    decoded = { decode: (1000 * continuation.length) / (performance.now() - started), ...extra };
  }
  return { prefill, ...decoded };
}
