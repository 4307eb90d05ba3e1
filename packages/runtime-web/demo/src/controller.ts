// What the page does: loads a model, lets it answer, stops it. Views call this and watch the store; nothing else changes state.
import type { ChatMessage, GenerationEvent, Prompt, Timings } from '@duobit/core';
import { type Container, DuobitError } from '@duobit/format';
import { openModel, type WorkerLoadOptions, type WorkerModel } from '@duobit/runtime-web';
import { readCard } from './card.ts';
import type { Engine } from './engine.ts';
import { type BitPlanes, readBitPlanes } from './planes.ts';
import {
  DEFAULT_SETTINGS,
  keepSettings,
  mergeSettings,
  type Settings,
  toGenerateOptions,
} from './settings.ts';
import { locate, type ModelPlace, type PageModel, placeOfFile, placeOfUrl } from './start.ts';
import type { Outcome, Panel, Speed, State, Turn } from './state.ts';
import type { Store } from './store.ts';
import { describeFailure } from './text.ts';

const SILENT: Speed = { prefill: null, decode: null };

export class Controller {
  readonly #store: Store<State>;
  readonly #engine: Engine;
  readonly #options: WorkerLoadOptions;
  #defaults = DEFAULT_SETTINGS;
  #loading: AbortController | null = null;
  #answering: { readonly abort: AbortController; readonly ended: Promise<void> } | null = null;
  /** Of the model whose card is shown. */
  #place: ModelPlace | null = null;
  /** The model's container once somebody looked at its bits. */
  #container: Promise<Container> | null = null;

  /** @param options what every model is loaded with */
  constructor(store: Store<State>, engine: Engine, options: WorkerLoadOptions) {
    this.#store = store;
    this.#engine = engine;
    this.#options = options;
  }

  async start({ place, prompts, stop }: PageModel): Promise<void> {
    const { settings } = this.#store.state;
    this.#defaults = { ...DEFAULT_SETTINGS, stop: stop.join('\n') };
    this.#store.update({ prompts, settings: { ...settings, stop: settings.stop || this.#defaults.stop } });
    if (place) await this.load(place);
  }

  loadUrl(url: string): Promise<void> {
    try {
      return this.load(placeOfUrl(url));
    } catch {
      const remedy = 'Give an http or https address';
      this.#fail(new DuobitError('HTTP_REQUEST', 'the address is not valid', { remedy }), 'load');
      return Promise.resolve();
    }
  }

  loadFile(file: File): Promise<void> {
    return this.load(placeOfFile(file));
  }

  /** Loads a model in place of the one that is there, which stays when the new one's header is refused. */
  async load(place: ModelPlace): Promise<void> {
    this.#loading?.abort();
    const abort = new AbortController();
    const { signal } = abort;
    this.#loading = abort;
    this.#store.update({
      asked: place,
      loading: { progress: null, since: performance.now() },
      failure: null,
    });
    try {
      const container = await openModel(locate(place), { signal });
      const card = await readCard(container).finally(() => container.close());
      if (signal.aborted) return;
      await this.#unload();
      if (signal.aborted) return;
      this.#place = place;
      this.#store.update({ card, notices: [] });
      const model = await this.#engine.open(place, {
        ...this.#options,
        signal,
        onProgress: (progress) => {
          const { loading } = this.#store.state;
          if (!signal.aborted && loading) this.#store.update({ loading: { ...loading, progress } });
        },
        onNotice: (line) => this.#notice(line),
      });
      if (signal.aborted) await model.dispose();
      else this.#store.update({ model, loading: null });
    } catch (error) {
      if (signal.aborted) return;
      this.#store.update({ loading: null });
      this.#fail(error, 'load');
    } finally {
      if (this.#loading === abort) this.#loading = null;
    }
  }

  async cancelLoad(): Promise<void> {
    this.#loading?.abort();
    this.#loading = null;
    this.#store.update({ loading: null });
    // A card without its model would promise what is not there.
    if (!this.#store.state.model) await this.#unload();
  }

  /** Tries again what failed. */
  retry(): Promise<void> {
    const { asked } = this.#store.state;
    return asked ? this.load(asked) : Promise.resolve();
  }

  /** Sends a message, or continues the text with what was written; '' continues it as it is. */
  async send(text: string): Promise<void> {
    const { model, turns, settings, answering } = this.#store.state;
    if (!model || answering || (text === '' && (model.hasChatTemplate || turns.length === 0))) return;
    const asked: readonly Turn[] = text === '' ? turns : [...turns, { role: 'user', text }];
    const options = toGenerateOptions(settings);
    const abort = new AbortController();
    const events = (): AsyncIterable<GenerationEvent> =>
      model.generate(toPrompt(asked, settings, model), { ...options, signal: abort.signal });
    const ended = this.#answer(asked, events, options.seed);
    this.#answering = { abort, ended };
    await ended;
  }

  async #answer(
    asked: readonly Turn[],
    open: () => AsyncIterable<GenerationEvent>,
    seed: number,
  ): Promise<void> {
    const store = this.#store;
    let text = '';
    const show = (outcome?: Outcome): void => {
      const answer: Turn = { role: 'assistant', text, ...(outcome && { outcome }) };
      store.update({ turns: [...asked, answer] });
    };
    store.update({ answering: true, failure: null, speed: SILENT });
    show();
    const meter = new Meter();
    try {
      for await (const event of open()) {
        text += event.text;
        if (event.kind === 'token') {
          show();
          store.update({ speed: meter.count() });
        } else {
          const { reason, tokens, timings } = event;
          show({ reason, tokens, seed, timings });
          store.update({ speed: toSpeed(timings) });
        }
      }
    } catch (error) {
      show({ reason: 'failed', tokens: meter.tokens, seed, timings: null });
      this.#fail(error, 'answer');
    } finally {
      this.#answering = null;
      store.update({ answering: false });
    }
  }

  stop(): void {
    this.#answering?.abort.abort();
  }

  async clear(): Promise<void> {
    this.stop();
    await this.#answering?.ended;
    this.#store.update({ turns: [], failure: null, speed: SILENT });
  }

  /** What Escape does: the nearest thing that can be stopped. */
  escape(): void {
    if (this.#answering) this.stop();
    else if (this.#loading) void this.cancelLoad();
  }

  /**
   * Bit planes of a tensor of the model, from where it is stored or from its file.
   * @throws DuobitError what opening and reading the container throw
   */
  async readPlanes(name: string): Promise<BitPlanes> {
    if (!this.#place) throw new DuobitError('INTERNAL', 'there is no model to read from');
    this.#container ??= openModel(locate(this.#place));
    return readBitPlanes(await this.#container, name);
  }

  changeSettings(patch: Partial<Settings>): void {
    const settings = mergeSettings(this.#store.state.settings, patch);
    keepSettings(settings);
    this.#store.update({ settings });
  }

  resetSettings(): void {
    this.changeSettings(this.#defaults);
  }

  showPanel(panel: Panel): void {
    this.#store.update({ panel });
  }

  dismissNotice(line: string): void {
    const { notices } = this.#store.state;
    this.#store.update({
      notices: notices.map((notice) => (notice.line === line ? { line, dismissed: true } : notice)),
    });
  }

  #notice(line: string): void {
    const { notices } = this.#store.state;
    const text = line.replace(/^note: /, '');
    const others = notices.filter((notice) => notice.line !== text);
    this.#store.update({ notices: [...others, { line: text, dismissed: false }] });
  }

  #fail(error: unknown, during: 'load' | 'answer'): void {
    this.#store.update({ failure: { ...describeFailure(error), during } });
  }

  async #unload(): Promise<void> {
    await this.clear();
    const { model } = this.#store.state;
    this.#store.update({ model: null, card: null });
    const container = this.#container;
    this.#container = null;
    this.#place = null;
    // One that could not be opened was told of where it was wanted.
    await container?.then((open) => open.close()).catch(() => {});
    await model?.dispose();
  }
}

/** A model that chats gets messages, others the whole text so far. */
function toPrompt(turns: readonly Turn[], { system }: Settings, { hasChatTemplate }: WorkerModel): Prompt {
  if (!hasChatTemplate) return turns.map(({ text }) => text).join('');
  const messages: ChatMessage[] = turns.map(({ role, text }) => ({ role, content: text }));
  return system.trim() === '' ? messages : [{ role: 'system', content: system }, ...messages];
}

function toSpeed({ prefillTokens, prefillSeconds, decodeTokens, decodeSeconds }: Timings): Speed {
  const rate = (tokens: number, seconds: number) => (tokens > 0 && seconds > 0 ? tokens / seconds : null);
  return { prefill: rate(prefillTokens, prefillSeconds), decode: rate(decodeTokens, decodeSeconds) };
}

/** Tokens a second of the latest second, while an answer is under way. */
class Meter {
  readonly #times: number[] = [];
  tokens = 0;

  count(): Speed {
    const now = performance.now();
    this.tokens++;
    this.#times.push(now);
    while (this.#times[0]! < now - 1000) this.#times.shift();
    const seconds = (now - this.#times[0]!) / 1000;
    return { prefill: null, decode: seconds > 0 ? (this.#times.length - 1) / seconds : null };
  }
}
