// Makes docs/results/browser-peers.md from a record of `npm run bench -- --peers --browser-only`.
import { judgeQuiet, summarizeRuns } from './record.mjs';
import {
  formatFiles,
  formatInputs,
  formatPeers,
  formatSkipped,
  formatSource,
  formatThreadCounts,
  rate,
} from './table.mjs';

/** @param record as run.mjs writes it with --browser-only */
export function formatBrowserPage(record, { source } = {}) {
  const { browser } = record;
  return [
    '# Decoding in a browser, WebAssembly: Duobit and its peers',
    '',
    ...formatSource(record, source, 'browser-page.mjs'),
    `- Browser: ${browser.version}, a new one with a fresh profile for each run; no GPU`,
    `- Model: ${record.model}; rounds ${browser.rounds}; ${browser.decode} tokens decoded after a prompt of ${browser.prompts[0]}`,
    ...formatInputs(record),
    ...formatPeers(record),
    '',
    'Peak RSS is that of the page’s process, with JavaScript, WebAssembly and the file, which is in memory before loading is',
    'timed. Loading includes compiling WebAssembly, the tokenizer and, in wllama, a run to warm up.',
    '',
    ...[...new Set(browser.runs.map(({ threads }) => threads))].flatMap((threads) =>
      formatThreads({ ...browser, runs: browser.runs.filter((run) => run.threads === threads) }),
    ),
    '## Size and quality',
    '',
    'Perplexities are measured in Node, the same files by the same engines’ builds for it.',
    '',
    formatFiles(record.subjects),
    '',
    ...formatSkipped(record.skipped),
  ].join('\n');
}

/** The runs of one number of threads: with the ratios if the machine was quiet then, else with the reason for none. */
function formatThreads(browser) {
  const quiet = judgeQuiet(browser);
  const rows = summarizeRuns({ ...browser, options: browser });
  const others = `Cores kept busy by other processes: median ${rate(quiet.median)}, at most ${rate(quiet.maximum)}.`;
  return [
    ...formatThreadCounts(rows, browser.prompts, quiet.isQuiet, 'In Chromium'),
    quiet.isQuiet ? others : `**${others} ${BUSY}**`,
    '',
  ];
}

const BUSY =
  'The machine was busy with other things, so these figures rank no engine: threads that wait for each other by spinning lose ' +
  'far more to a busy machine than those that run alone.';
