// A thread of row-workers.ts: quantizes rows of layers as it is asked to.
import { parentPort } from 'node:worker_threads';
import { Workspace } from '../linalg/index.ts';
import type { FitAnswer, FitRequest } from './row-workers.ts';
import { createW11LayerMethod } from './w11-layer-method.ts';

const space = await Workspace.create();

parentPort!.on('message', ({ options, problem }: FitRequest) => {
  let answer: FitAnswer;
  try {
    answer = { result: createW11LayerMethod(options).quantize(problem, space) };
  } catch {
    // The caller's thread meets the same error with the whole layer, and can tell its place.
    answer = { result: null };
  }
  parentPort!.postMessage(answer);
});
