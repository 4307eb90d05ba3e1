// One ablation on one model: quantize to a file, train, perplexity with unquantized and 4-bit inputs after stages 2 and 3.
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createModel, createTokenizer } from '@duobit/core';
import { evaluateTokens, openCheckpoint, quantize } from '@duobit/quantizer';
import { createBackend, createTrainingKernels, loadModel } from '@duobit/runtime-node';
import { openEngine, openTfjsBackend } from '@duobit/tfjs';
import { describeRun } from '../record.mjs';

const CONTEXT = 512;

/** @param model of models.mjs @param row of rows.mjs @param options {tokens, passes, seed, threads, log} */
export async function measure(model, row, { tokens, passes, seed, threads, log }) {
  const finish = describeRun();
  const folder = mkdtempSync(path.join(tmpdir(), 'duobit-ablation-'));
  // TensorFlow.js has one backend a process, which the evaluation of the row before may have changed.
  const engine = await openEngine({ device: 'native', kernels: () => createTrainingKernels({ threads }) });
  const backend = await createBackend('native', { threads });
  try {
    const calibration = await model.calibration();
    const stages = row.stages({ passes, seed });
    const options = { calibration, backend, ...row.quantize };
    const distillation = stages && { engine, tokens, seed, ...stages };
    const out = path.join(folder, 'model.duo');
    const workFolder = path.join(folder, 'work');
    const blocks = [];
    const begun = performance.now();
    const report = await quantize(model.checkpoint, out, {
      ...options,
      workFolder,
      ...(distillation && { distillation }),
      onBlock(stage, { block, training }) {
        if (!training) return;
        blocks.push(summarizeBlock(stage, block, training));
        log(
          `${row.id}: stage ${stage}, block ${block}: ${training.heldOutBefore} -> ${training.heldOutAfter}`,
        );
        // The work folder goes when the container is complete; what stage 2 left is looked at by itself.
        if (stage === 2 && stages.activations) cpSync(workFolder, `${workFolder}-2`, { recursive: true });
      },
    });
    const seconds = (performance.now() - begun) / 1000;
    const perplexity = {};
    if (stages?.weights && stages.activations) {
      const second = path.join(folder, 'stage-2.duo');
      await quantize(model.checkpoint, second, {
        ...options,
        workFolder: `${workFolder}-2`,
        distillation: { ...distillation, activations: null, endToEnd: null },
      });
      perplexity.stage2 = await evaluate(model, second, threads, false);
    }
    perplexity.end = await evaluate(model, out, threads, row.knee === true);
    const { provenance: _, ...recipe } = report.recipe;
    return {
      ...finish('ablation'),
      row: row.id,
      recipe: { ...recipe, calibration: { ...recipe.calibration, file: null } },
      passes,
      perplexity,
      blocks,
      seconds,
      threads,
    };
  } finally {
    await backend.dispose();
    rmSync(folder, { recursive: true });
  }
}

/** Of the unquantized model. */
export async function measureFull(model, { threads }) {
  const finish = describeRun();
  const backend = await createBackend('native', { threads });
  const checkpoint = await openCheckpoint(model.checkpoint);
  try {
    const runnable = await createModel(checkpoint, backend, {
      contextLength: CONTEXT,
      activations: 'f16',
      tokenizer: false,
    });
    const { perplexity, sha256 } = await evaluateModel(model, runnable);
    return {
      ...finish('ablation'),
      row: 'full',
      perplexity: { end: { f16: perplexity, tokens_sha256: sha256 } },
    };
  } finally {
    await checkpoint.close();
    await backend.dispose();
  }
}

/** A quantizer with a knee runs on TensorFlow.js. */
async function evaluate(model, file, threads, knee) {
  const found = {};
  for (const activations of ['f16', 'a4']) {
    const backend =
      knee && activations === 'a4'
        ? await openTfjsBackend({ device: 'wasm' })
        : await createBackend('native', { threads });
    const runnable = await loadModel(file, { backend, activations, contextLength: CONTEXT });
    const { perplexity, sha256 } = await evaluateModel(model, runnable);
    found[activations] = perplexity;
    found.tokens_sha256 = sha256;
    await backend.dispose();
  }
  return found;
}

async function evaluateModel(model, runnable) {
  const checkpoint = await openCheckpoint(model.checkpoint);
  const tokenizer = await createTokenizer(checkpoint);
  const tokens = (await model.evaluation()).flatMap((text) => tokenizer.encode(text, { bos: false }));
  await checkpoint.close();
  const { perplexity } = await evaluateTokens(runnable, tokens, { context: CONTEXT });
  await runnable.dispose();
  return { perplexity, sha256: createHash('sha256').update(Int32Array.from(tokens)).digest('hex') };
}

function summarizeBlock(stage, block, { losses, heldOutBefore, heldOutAfter, kept, divergences }) {
  const mean = (list) =>
    list.length === 0 ? null : list.reduce((sum, value) => sum + value, 0) / list.length;
  return {
    stage,
    block,
    heldOutBefore,
    heldOutAfter,
    kept,
    divergences,
    steps: losses.length,
    // The first and the last eight, for the trend.
    lossBegin: mean(losses.slice(0, 8)),
    lossEnd: mean(losses.slice(-8)),
  };
}
