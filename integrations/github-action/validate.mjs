// The action's one step: validates, writes annotations, the job's summary and outputs, and fails where a container is not valid.
import { appendFileSync } from 'node:fs';
import { describeProblem, LEVELS, listContainers, validateFile } from '../validate-files.mjs';

const {
  INPUT_PATH = '.',
  INPUT_LEVEL = 'deep',
  INPUT_COMMAND,
  GITHUB_OUTPUT,
  GITHUB_STEP_SUMMARY,
} = process.env;

const escapeText = (text) => text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
const escapeProperty = (text) => escapeText(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
/** A command of the runner that shows an error, at a file where there is one. */
function annotate(message, file, title) {
  const properties = file === undefined ? '' : ` file=${escapeProperty(file)},title=${escapeProperty(title)}`;
  console.log(`::error${properties}::${escapeText(message)}`);
}

try {
  if (!LEVELS.includes(INPUT_LEVEL)) throw new Error(`level is ${LEVELS.join(', ')}; not "${INPUT_LEVEL}"`);
  const paths = INPUT_PATH.split('\n').map((path) => path.trim());
  const files = listContainers(paths.filter((path) => path !== ''));
  if (files.length === 0) throw new Error(`no .duo file in ${INPUT_PATH}`);
  const rows = [];
  for (const file of files) {
    const problems = await validateFile(file, INPUT_LEVEL, INPUT_COMMAND || undefined);
    for (const problem of problems) annotate(describeProblem(problem), file, problem.code);
    if (problems.length === 0) console.log(`${file}: valid`);
    rows.push({ file, problems });
  }
  const invalid = rows.filter(({ problems }) => problems.length > 0).length;
  if (GITHUB_OUTPUT) appendFileSync(GITHUB_OUTPUT, `files=${files.length}\ninvalid=${invalid}\n`);
  if (GITHUB_STEP_SUMMARY) {
    const lines = rows.map(({ file, problems }) => {
      const codes = [...new Set(problems.map(({ code }) => code))].join(', ');
      return `| \`${file}\` | ${codes || 'valid'} |`;
    });
    appendFileSync(GITHUB_STEP_SUMMARY, ['| Container | |', '| --- | --- |', ...lines, ''].join('\n'));
  }
  if (invalid > 0) process.exitCode = 1;
} catch (error) {
  annotate(error.message);
  process.exitCode = 1;
}
