// `npm run bench`: prepares the files, measures ours and (with --peers) llama.cpp's in turns, each in a process of its
// own, and writes a record, a table and a plot. See README.md beside this file.
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createTokenizer } from '@duobit/core';
import { openCheckpoint } from '@duobit/quantizer';
import { estimateChromium, measureInChromium } from './browser/measure.mjs';
import { formatBrowserPage } from './browser-page.mjs';
import { runChild } from './child.mjs';
import { measureMatvec } from './matvec.mjs';
import { makeF16, sha256 } from './models.mjs';
import { readOptions, WINDOW } from './options.mjs';
import { installPeer } from './peers/setup.mjs';
import { drawPlot } from './plot.mjs';
import { describeRun, watchProcessor } from './record.mjs';
import { prepareSubjects, runsInNode } from './subjects.mjs';
import { formatPage } from './table.mjs';
import { writePage } from './write-page.mjs';

const WORKER = fileURLToPath(new URL('./worker.mjs', import.meta.url));

const log = (line) => process.stderr.write(`${line}\n`);

/** Rounds over all files; a file that fails is skipped from then on, with its reason, and the others go on. */
async function measureSpeeds(options, subjects, job, skipped) {
  const runs = [];
  const failed = new Set();
  for (const threads of options.threads) {
    for (let round = 1; round <= options.repeats; round += 1) {
      for (const subject of subjects.filter(({ id }) => !failed.has(`${id} ${threads}`))) {
        try {
          runs.push({
            subject: subject.id,
            threads,
            round,
            ...(await measureRun(subject, { threads, ...job })),
          });
        } catch (error) {
          failed.add(`${subject.id} ${threads}`);
          skipped.push({
            name: `${subject.short}, threads ${threads}`,
            reason: error.message.split('\n')[0],
          });
          continue;
        }
        const { decode, coresElsewhere } = runs.at(-1);
        log(
          `threads ${threads}, round ${round}: ${subject.short}: decode ${decode.toFixed(2)}, others used ${coresElsewhere.toFixed(2)} cores`,
        );
      }
    }
  }
  return runs;
}

/** One file in one process. */
async function measureRun(subject, { threads, openOptions, tokens, prompts, decode }) {
  const watch = watchProcessor();
  const { library, ...measured } = await runChild(WORKER, {
    task: 'speed',
    engine: subject.engine,
    open: { ...openOptions, ...subject.open, file: subject.file, threads },
    tokens,
    prompts,
    decode,
  });
  const { busySeconds, wallSeconds } = watch.stop();
  if (library !== null) subject.library = library;
  const coresElsewhere = Math.max(0, (busySeconds - measured.cpuSeconds) / wallSeconds);
  return { ...measured, wallSeconds, coresElsewhere };
}

/**
 * Not timed, so as many files are run at once as there are cores, each on one thread: none then waits for another's
 * threads on a busy machine.
 */
async function measurePerplexities(subjects, windows, openOptions, skipped) {
  const waiting = [...subjects];
  const work = async () => {
    for (let subject = waiting.shift(); subject !== undefined; subject = waiting.shift()) {
      try {
        const { perplexity } = await runChild(WORKER, {
          task: 'perplexity',
          engine: subject.engine,
          open: { ...openOptions, ...subject.open, file: subject.file, threads: 1 },
          windows,
        });
        subject.perplexity = perplexity;
        log(`perplexity of ${subject.short}: ${perplexity.toFixed(3)}`);
      } catch (error) {
        skipped.push({ name: `perplexity of ${subject.short}`, reason: error.message.split('\n')[0] });
      }
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, work));
}

/** Seconds that a file of each kind takes on 2 cores of an AMD EPYC, for the line that says how long it will take. */
function estimateSeconds(options, subjects) {
  const rounds = options.browserOnly ? 0 : options.repeats;
  const speed = rounds * options.threads.reduce((sum, count) => sum + 4 + 4 / count, 0);
  // Q2_0 has no x86 kernels in llama.cpp and takes as long as ten others.
  const files = subjects.reduce((sum, { id }) => sum + (id.includes('-Q2_0-') ? 10 : 1), 0);
  const perplexity = (options.windows * 4 * files) / availableParallelism();
  return (
    files * speed + perplexity + (options.peers && !options.speedOnly ? estimateChromium(options) + 30 : 0)
  );
}

/** The text's tokens: prompts, what is decoded after them, windows for perplexity, and the prompts as text. */
async function readTokens(options, f16) {
  const checkpoint = await openCheckpoint(f16);
  const text = readFileSync(options.text, 'utf8');
  const tokenizer = await createTokenizer(checkpoint);
  const { vocabularySize } = checkpoint.architecture;
  await checkpoint.close();
  const tokens = tokenizer.encode(text, { bos: false });
  const longest = Math.max(...options.prompts, options.prompts[0] + options.decode);
  if (tokens.length < longest) throw new Error(`the text has ${tokens.length} tokens; ${longest} are needed`);
  const windowCount = Math.min(options.windows, Math.floor(tokens.length / WINDOW));
  return {
    text,
    tokens: tokens.slice(0, longest),
    windows: Array.from({ length: windowCount }, (_, i) => tokens.slice(i * WINDOW, (i + 1) * WINDOW)),
    texts: Object.fromEntries(
      options.prompts.map((length) => [length, tokenizer.decode(tokens.slice(0, length))]),
    ),
    contextLength: Math.max(longest, WINDOW),
    vocabularySize,
  };
}

function choosePage({ browserOnly, speedOnly }) {
  if (browserOnly) return { page: 'browser-peers.md', format: formatBrowserPage };
  if (speedOnly) return { page: 'cpu-speed.md', format: formatPage };
  return { page: 'cpu-peers.md', format: formatPage, drawPlot };
}

async function run() {
  const options = readOptions();
  const describe = describeRun();
  const skipped = [];
  const f16 = await makeF16(options.model, log);
  const calibrationText = readFileSync(options.calibration, 'utf8');
  const calibration = { text: calibrationText, maxWindows: options.calibrationWindows };
  const { subjects, peers } = await prepareSubjects(options, f16, calibration, skipped, log);
  log(
    `the files are there; measuring takes about ${Math.ceil(estimateSeconds(options, subjects) / 60)} minutes`,
  );

  const { text, tokens, windows, texts, contextLength, vocabularySize } = await readTokens(options, f16);
  const openOptions = { contextLength, vocabularySize };
  const { prompts, decode } = options;
  const { peakRssBytes: nodeRssBytes } = await runChild(WORKER, { task: 'nothing' });
  let runs = [];
  if (!options.browserOnly) {
    const inNode = subjects.filter(runsInNode);
    runs = await measureSpeeds(options, inNode, { openOptions, tokens, prompts, decode }, skipped);
    if (runs.length === 0) throw new Error(`nothing could be measured: ${skipped.at(-1).reason}`);
  }
  if (windows.length > 0) await measurePerplexities(subjects, windows, openOptions, skipped);
  let matvec = [];
  let browser = null;
  if (options.peers && !options.speedOnly) {
    if (!options.browserOnly) {
      const installed = installPeer('onnxruntime', log);
      if (installed.versions !== undefined) peers.onnxruntime = installed.versions;
      matvec = await measureMatvec(installed, skipped, log);
    }
    const job = { tokens, texts, prompts, decode, contextLength };
    browser = await measureInChromium(options, subjects, job, peers, skipped, log);
    if (options.browserOnly && !(browser?.runs.length > 0)) {
      throw new Error(`nothing could be measured: ${skipped.at(-1).reason}`);
    }
  }

  const { peers: _, model, text: __, calibration: ___, record: isKept, name, ...kept } = options;
  const record = {
    ...describe(options.browserOnly ? 'browser-peers' : 'cpu-peers'),
    options: { ...kept, contextLength },
    model: path.basename(model),
    text: {
      name: path.basename(options.text),
      sha256: sha256(text),
      windows: windows.length,
      context: WINDOW,
    },
    calibration: {
      name: path.basename(options.calibration),
      sha256: sha256(calibrationText),
      windows: options.calibrationWindows,
    },
    peers,
    nodeRssBytes,
    subjects: subjects.map(({ file, open, ...subject }) => ({ ...subject, file: path.basename(file) })),
    runs,
    matvec,
    browser,
    skipped,
  };
  writePage(record, { name, isKept, ...choosePage(options) });
}

try {
  await run();
} catch (error) {
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}
