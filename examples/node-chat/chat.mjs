// A chat in the terminal: npm start [-- <file, address, or hf:user/name>]. Ctrl-C ends an answer, Ctrl-D the chat.
import { createInterface } from 'node:readline/promises';
import { fileURLToPath } from 'node:url';
import { loadModel } from '@duobit/runtime-node';

const EMBEDDED = fileURLToPath(new URL('../../fixtures/embedded/tinystories-656k.duo', import.meta.url));

const model = await loadModel(process.argv[2] ?? EMBEDDED, { onNotice: (line) => console.error(line) });
console.error(`${model.name} on ${model.backendName}`);
if (!model.hasChatTemplate) console.error('It has no chat template, so it goes on with what you write.');

const input = createInterface({ input: process.stdin, output: process.stderr, prompt: '> ' });
let answering = new AbortController();
input.on('SIGINT', () => answering.abort());

const messages = [];
input.prompt();
for await (const line of input) {
  if (line.trim() !== '') {
    answering = new AbortController();
    messages.push({ role: 'user', content: line });
    let answer = '';
    try {
      const prompt = model.hasChatTemplate ? messages : line;
      for await (const { text } of model.generate(prompt, { temperature: 0.7, signal: answering.signal })) {
        process.stdout.write(text);
        answer += text;
      }
      messages.push({ role: 'assistant', content: answer });
    } catch (error) {
      // Such as CONTEXT_TOO_LONG: the question is taken back, and the chat goes on.
      messages.pop();
      console.error(`${error.code ?? 'error'}: ${error.message}. ${error.remedy ?? ''}`);
    }
    process.stdout.write('\n');
  }
  input.prompt();
}
await model.dispose();
