// Rounds in Chromium: our wasm backend, wllama on the llama.cpp files that are compared in Node too, and transformers.js.
import { installPeer } from '../peers/setup.mjs';
import { watchProcessor } from '../record.mjs';
import { findChromium, runInChromium } from './chromium.mjs';
import { bundleOurs } from './server.mjs';

/** A file takes a peer some 10 to 60 seconds, so rounds are fewer than in Node and the longer prompts are left out. */
const MOST_ROUNDS = 3;
const MOST_DECODED = 32;

/** Two versions: 3 is the present one; 2 is wasm32, the last that takes tokens, and reads fewer types. */
const WLLAMA_ENGINES = ['wllama 2', 'wllama 3'];

/**
 * @param subjects those measured in Node, and transformers.js' @param job {tokens, texts, prompts, decode, contextLength}
 * @returns the record's `browser`: {version, prompts, decode, subjects, runs}, or null when there is nothing to run it
 */
export async function measureInChromium(options, subjects, job, peers, skipped, log) {
  const { command, version, reason } = findChromium();
  if (reason !== undefined) {
    skipped.push({ name: 'Chromium', reason });
    return null;
  }
  const wllama = installPeer('wllama', log);
  if (wllama.reason !== undefined) skipped.push({ name: 'wllama in Chromium', reason: wllama.reason });
  else peers.wllama = wllama.versions;
  await bundleOurs();
  const chosen = listSubjects(subjects, wllama.reason === undefined ? WLLAMA_ENGINES : []);
  const prompts = job.prompts.slice(0, 1);
  const decode = Math.min(job.decode, MOST_DECODED);
  const rounds = Math.min(options.repeats, MOST_ROUNDS);
  const runs = [];
  const failed = new Set();
  for (const threads of options.threads) {
    for (let round = 1; round <= rounds; round += 1) {
      for (const { file, open, ...subject } of chosen.filter(({ id }) => !failed.has(`${id} ${threads}`))) {
        try {
          const watch = watchProcessor();
          const { engine } = subject;
          const asked = { ...job, ...open, engine, file, threads, prompts, decode };
          const { version: library, ...measured } = await runInChromium(command, asked);
          const { busySeconds, wallSeconds } = watch.stop();
          const coresElsewhere = Math.max(0, (busySeconds - measured.cpuSeconds) / wallSeconds);
          runs.push({ subject: subject.id, threads, round, ...measured, wallSeconds, coresElsewhere });
          if (library !== undefined) peers[`llama.cpp in ${engine}`] = { build: library };
          log(
            `Chromium, threads ${threads}, round ${round}: ${subject.short}: decode ${measured.decode.toFixed(2)}, others used ${coresElsewhere.toFixed(2)} cores`,
          );
        } catch (error) {
          failed.add(`${subject.id} ${threads}`);
          skipped.push({
            name: `Chromium, ${subject.short}, threads ${threads}`,
            reason: error.message.split('\n')[0],
          });
        }
      }
    }
  }
  const kept = chosen.map(({ file, open, ...subject }) => subject);
  return { version, rounds, prompts, decode, subjects: kept, runs };
}

const isOurs = ({ open }) => open.backend === 'wasm' && open.activations === 'a4';
const isWllamas = ({ id }) => /^llama\.cpp-.*-default$/.test(id) && !id.includes('-F16-');
const isTransformers = ({ engine }) => engine === 'transformers.js';

/** Whether a file is run in Chromium: our wasm with 4-bit activations, llama.cpp's default mixtures, ONNX files. */
export const runsInChromium = (subject) => isOurs(subject) || isWllamas(subject) || isTransformers(subject);

/** Ours, the files for wllama once for each version, and those of transformers.js. */
function listSubjects(subjects, wllamaEngines) {
  const ours = subjects.filter(isOurs).map((subject) => ({ ...subject, id: `chromium-${subject.id}` }));
  const wllamas = wllamaEngines.flatMap((engine) =>
    subjects.filter(isWllamas).map((subject) => ({
      ...subject,
      id: subject.id.replace('llama.cpp', engine),
      engine,
      label: `${engine} ${subject.short}`,
      short: `${engine} ${subject.short}`,
    })),
  );
  return [...ours, ...wllamas, ...subjects.filter(isTransformers)];
}

/** Seconds that a run of these options takes in Chromium, from runs on 2 cores of an AMD EPYC. */
export function estimateChromium({ threads, types, repeats }) {
  const files = WLLAMA_ENGINES.length * types.filter((type) => type !== 'F16').length + 2;
  return Math.min(repeats, MOST_ROUNDS) * files * threads.reduce((sum, count) => sum + 10 + 25 / count, 0);
}
