// The installed command line: quantizes the checkpoint beside it, validates and runs what it made.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

/**
 * @param project has the package `duobit` and the folder `checkpoint`; gets model.duo
 * @param done told after each step
 * @returns the story that the model wrote on the backend `wasm`, which is the same in a page
 */
export async function useCommands(project, done) {
  const command = join(project, 'node_modules', '.bin', 'duobit');
  const duobit = (...args) => {
    const options = { cwd: project, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] };
    try {
      return execFileSync(command, args, options);
    } catch (error) {
      throw new Error(`duobit ${args.join(' ')} ended with ${error.status}: ${error.stderr}`);
    }
  };
  const quantized = JSON.parse(duobit('quantize', 'checkpoint', '-o', 'model.duo', '--json'));
  done(
    `duobit quantize: ${quantized.file_bytes} bytes, ${quantized.bits_per_weight_linear.toFixed(2)} bits a weight`,
  );
  const { ok } = JSON.parse(duobit('validate', 'model.duo', '--json'));
  if (!ok) throw new Error('duobit validate did not find the model in order');
  done('duobit validate: ok');
  const story = duobit('run', 'model.duo', '-p', 'Once upon a time', '-n', '20', '--backend', 'wasm');
  done(`duobit run: "${story.trim()}"`);
  return story;
}
