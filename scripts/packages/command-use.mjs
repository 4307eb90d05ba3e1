// The installed command line: quantizes the checkpoint beside it, validates, runs and serves what it made.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/** The embedded checkpoint was trained on stories and has none. */
const CHAT_TEMPLATE = '{% for message in messages %}{{ message.content }}{% endfor %}';

/** Serves the model, asks for one chat completion, and ends the server as a supervisor does. @returns the answer */
async function serveModel(command, cwd) {
  writeFileSync(join(cwd, 'template.jinja'), CHAT_TEMPLATE);
  const args = ['serve', 'model.duo', '--port', '0', '--chat-template', 'template.jinja'];
  const server = spawn(command, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = once(server, 'close');
  let log = '';
  server.stderr.on('data', (text) => {
    log += text;
  });
  try {
    const lines = createInterface({ input: server.stdout });
    const line = await Promise.race([once(lines, 'line'), ended.then(() => null)]);
    if (line === null) throw new Error('it ended before it listened');
    const [address] = /http:\/\/[^\s/]+/.exec(line[0]) ?? [];
    const response = await fetch(new URL('/v1/chat/completions', address), {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({
        model: 'model',
        messages: [{ role: 'user', content: 'Once upon a time' }],
        max_tokens: 20,
        temperature: 0,
      }),
    });
    const answer = await response.text();
    const text = response.ok ? JSON.parse(answer).choices[0].message.content : '';
    if (text.trim() === '') throw new Error(`status ${response.status}, ${answer}`);
    server.kill('SIGTERM');
    const [code, signal] = await ended;
    if (code !== 0) throw new Error(`it ended with ${code ?? signal} after SIGTERM`);
    return text;
  } catch (error) {
    throw new Error(`duobit ${args.join(' ')}: ${error.message}\n${log}`);
  } finally {
    server.kill('SIGKILL');
  }
}

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
  const answer = await serveModel(command, project);
  done(`duobit serve: "${answer.trim()}"`);
  return story;
}
