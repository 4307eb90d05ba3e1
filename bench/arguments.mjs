// Options of a script here: `--help` prints its usage, and so does an option that it does not have, with what is wrong before it.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

/**
 * @param options as `parseArgs` takes them
 * @param usage a text, or the address of a script, whose first comment it then is
 */
export function readArguments(options, usage) {
  const help = () => (usage.startsWith('file:') ? readFirstComment(usage) : usage);
  try {
    const { values } = parseArgs({ options: { ...options, help: { type: 'boolean', default: false } } });
    if (!values.help) return values;
  } catch (error) {
    if (!error.code?.startsWith('ERR_PARSE_ARGS')) throw error;
    console.error(`${error.message}\n\n${help()}`);
    process.exit(2);
  }
  console.log(help());
  process.exit(0);
}

function readFirstComment(script) {
  const [comment] = /^(\/\/.*\n)+/.exec(readFileSync(fileURLToPath(script), 'utf8'));
  return comment.replaceAll(/^\/\/ ?/gm, '').trimEnd();
}
