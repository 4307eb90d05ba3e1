// A chat with a model that runs in a worker of this page. `?model=<address>` names another than the embedded one.
import { loadModelInWorker } from '@duobit/runtime-web';

const MODEL = new URLSearchParams(location.search).get('model') ?? 'tinystories-656k.duo';

const status = document.querySelector<HTMLParagraphElement>('#status')!;
const list = document.querySelector<HTMLOListElement>('#messages')!;
const form = document.querySelector('form')!;
const input = form.querySelector('input')!;
const [send, stop] = form.querySelectorAll('button') as unknown as [HTMLButtonElement, HTMLButtonElement];

const messages: { role: 'user' | 'assistant'; content: string }[] = [];
let answering = new AbortController();
stop.onclick = () => answering.abort();

function addItem(kind: string, text = ''): HTMLLIElement {
  const item = document.createElement('li');
  item.className = kind;
  item.textContent = text;
  list.append(item);
  return item;
}

/** What went wrong, and what helps. */
function show(error: unknown): void {
  const {
    code = 'error',
    message,
    remedy = '',
  } = error as { code?: string; message: string; remedy?: string };
  status.textContent = `${code}: ${message}. ${remedy}`;
}

try {
  const worker = new Worker(new URL('./model-worker.ts', import.meta.url), { type: 'module' });
  const model = await loadModelInWorker(worker, MODEL, {
    onProgress: ({ bytes, totalBytes }) => {
      status.textContent = `${Math.round((100 * bytes) / totalBytes)} %`;
    },
  });
  const kind = model.hasChatTemplate ? 'answers' : 'has no chat template, so it goes on with what you write';
  status.textContent = `${model.name} ${kind}`;
  send.disabled = false;

  form.onsubmit = async (event) => {
    event.preventDefault();
    const content = input.value;
    input.value = '';
    send.disabled = true;
    stop.disabled = false;
    answering = new AbortController();
    addItem('user', content);
    const item = addItem('assistant');
    messages.push({ role: 'user', content });
    try {
      const prompt = model.hasChatTemplate ? messages : content;
      for await (const { text } of model.generate(prompt, { temperature: 0.7, signal: answering.signal }))
        item.append(text);
      messages.push({ role: 'assistant', content: item.textContent ?? '' });
    } catch (error) {
      messages.pop();
      show(error);
    }
    send.disabled = false;
    stop.disabled = true;
    input.focus();
  };
} catch (error) {
  show(error);
}
