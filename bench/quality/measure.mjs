// One method on one model: quantize in memory, perplexity with unquantized and with 4-bit inputs, what it stored and took.
import { createHash } from 'node:crypto';
import { createModel, createTokenizer } from '@duobit/core';
import {
  chooseOutliers,
  evaluateTokens,
  fitModel,
  openCheckpoint,
  prepareCheckpoint,
} from '@duobit/quantizer';
import { readPeakRss } from '../peak-memory.mjs';
import { describeRun } from '../record.mjs';

const PLAIN = { bits: 4, clipLow: 1, clipHigh: 1, knee: null, planeScales: null };

/**
 * @param model of models.mjs @param entry of methods.mjs
 * @param options {backend, windows: most calibration windows, limit: most evaluation windows, log}
 */
export async function measure(model, entry, { backend, windows, limit, log }) {
  const finish = describeRun();
  const given = await openCheckpoint(model.checkpoint);
  const rotation = entry.rotation ?? 'none';
  try {
    const tokenizer = await createTokenizer(given);
    const tokens = (await model.evaluation()).flatMap((text) => tokenizer.encode(text, { bos: false }));
    const corpus = await model.calibration();
    const calibration = {
      ...corpus,
      maxWindows: Math.min(corpus.maxWindows, windows ?? Number.POSITIVE_INFINITY),
    };
    const count = entry.stage?.outliers ?? 0;
    const choose = (checkpoint) => chooseOutliers(checkpoint, backend, calibration, count);
    const { checkpoint, outliers } = await prepareCheckpoint(given, rotation, count > 0 ? choose : undefined);
    const before = readPeakRss() / 1024;
    const fitted = entry.method
      ? await fitModel(
          checkpoint,
          backend,
          calibration,
          { ...entry.stage, method: entry.method(), outliers },
          {
            onProgress: (layer, done, total) => log(`${entry.id}: ${layer} ${done} of ${total}`),
          },
        )
      : null;
    const source = fitted?.source ?? checkpoint;
    const perplexity = {};
    for (const context of model.contexts)
      for (const activations of ['f16', 'a4']) {
        log(`${entry.id}: perplexity, ${activations}`);
        const runnable = await createModel(source, backend, {
          contextLength: context,
          activations,
          tokenizer: false,
          ...(activations === 'a4' && !fitted ? { quantizers: () => PLAIN } : {}),
        });
        const report = await evaluateTokens(runnable, tokens, { context, ...(limit ? { limit } : {}) });
        await runnable.dispose();
        perplexity[`${activations}-${context}`] = report.perplexity;
        perplexity.tokens = report.tokens;
      }
    return {
      ...finish('quality'),
      model: model.title,
      model_sha256: await checkpoint.weightsSha256(),
      method: entry.id,
      options: { rotation, ...entry.stage },
      calibration: fitted && {
        tokens: fitted.calibrationTokens,
        sha256: fitted.calibrationSha256,
        ...entry.stage,
      },
      evaluation: {
        tokens_sha256: createHash('sha256').update(Int32Array.from(tokens)).digest('hex'),
        limit: limit ?? null,
      },
      perplexity,
      linear_weights: fitted?.linearWeights ?? null,
      linear_bytes: fitted?.linearBytes ?? null,
      relative_error: fitted?.relativeError ?? null,
      other_bytes: otherBytes(checkpoint),
      seconds: fitted?.seconds ?? null,
      peak_rss_kib: { before, after: readPeakRss() / 1024 },
      backend: [backend.name, backend.instructionSet].filter(Boolean).join(' '),
      threads: backend.threads,
    };
  } finally {
    await given.close();
  }
}

/** Embedding and head at 8 bits in groups of 64, norms in f32: what a container of any of these methods would hold besides. */
function otherBytes(checkpoint) {
  let bytes = 0;
  for (const name of checkpoint.tensorNames) {
    const { shape } = checkpoint.tensorInfo(name);
    if (shape.length === 1) bytes += 4 * shape[0];
    else if (!name.includes('.layers.')) bytes += shape[0] * (shape[1] + 2 * Math.ceil(shape[1] / 64));
  }
  return bytes;
}
