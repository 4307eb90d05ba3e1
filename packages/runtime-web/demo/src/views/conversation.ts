// The conversation, or, with a model that only continues, one text with what was written and what the model made of it.
import type { FinishReason } from '@duobit/core';
import type { Controller } from '../controller.ts';
import { h, replace } from '../dom.ts';
import type { Outcome, State, Turn } from '../state.ts';
import type { Store } from '../store.ts';
import { formatNumber, formatRate } from '../text.ts';

const REASONS: Readonly<Record<FinishReason | 'failed', string>> = {
  length: 'ended at the limit',
  context: 'ended as the context is full',
  stop: 'ended at a stop text',
  eos: 'ended by itself',
  aborted: 'stopped',
  failed: 'failed',
};

/** Closer to its end than this, the view follows what is written. */
const FOLLOW_PIXELS = 80;

export function createConversation(store: Store<State>, controller: Controller): HTMLElement {
  const log = h('div', { class: 'log', role: 'log', 'aria-live': 'polite', 'aria-label': 'Conversation' });
  const offers = h('div', { class: 'offers' });
  const section = h('section', { class: 'conversation' }, log, offers);
  /** Elements of the turns that are shown, so that a token changes one text and not the whole. */
  const shown: { turn: Turn; element: HTMLElement }[] = [];

  const render = (turns: readonly Turn[]): void => {
    const scroller = section.parentElement;
    const follows =
      scroller !== null && scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < FOLLOW_PIXELS;
    while (shown.length > turns.length) shown.pop()!.element.remove();
    for (const [i, turn] of turns.entries()) {
      const old = shown[i];
      if (old?.turn === turn) continue;
      if (old && old.turn.role === turn.role) {
        changeTurn(old.element, old.turn, turn);
        old.turn = turn;
        continue;
      }
      const element = createTurn(turn);
      if (old) old.element.replaceWith(element);
      else log.append(element);
      shown[i] = { turn, element };
    }
    if (follows && scroller) scroller.scrollTop = scroller.scrollHeight;
  };

  // Once a frame: a fast model writes more tokens than there are frames.
  let scheduled = false;
  store.watch(
    ({ turns }) => turns,
    () => {
      if (scheduled) return;
      scheduled = true;
      requestAnimationFrame(() => {
        scheduled = false;
        render(store.state.turns);
      });
    },
  );
  store.watch(
    ({ answering }) => answering,
    (answering) => {
      log.setAttribute('aria-busy', String(answering));
      log.classList.toggle('answering', answering);
    },
  );
  store.watch(
    ({ model }) => model?.hasChatTemplate ?? true,
    (chats) => {
      log.classList.toggle('continues', !chats);
    },
  );
  store.watch(
    ({ turns, prompts, model }) => (model && turns.length === 0 ? prompts : null),
    (prompts) =>
      replace(
        offers,
        prompts &&
          prompts.length > 0 &&
          h('p', { class: 'muted' }, 'Begin with one of these, or with your own'),
        ...(prompts ?? []).map((text) =>
          h('button', { type: 'button', class: 'offer', onclick: () => controller.send(text) }, text),
        ),
      ),
  );
  return section;
}

function createTurn(turn: Turn): HTMLElement {
  const { role, text, outcome } = turn;
  return h(
    'article',
    { class: `turn ${role}` },
    h('h3', { class: 'who' }, role === 'user' ? 'You' : 'Model'),
    h('p', { class: 'said', dir: 'auto' }, text),
    outcome && createOutcome(outcome),
  );
}

function changeTurn(element: HTMLElement, old: Turn, turn: Turn): void {
  const said = element.querySelector('.said')!;
  // Text is only ever added to an answer, and then only the new part is written.
  if (turn.text.startsWith(old.text) && said.firstChild instanceof Text)
    said.firstChild.appendData(turn.text.slice(old.text.length));
  else if (turn.text !== old.text) said.textContent = turn.text;
  element.querySelector('.outcome')?.remove();
  if (turn.outcome) element.append(createOutcome(turn.outcome));
}

function createOutcome({ reason, tokens, seed, timings }: Outcome): HTMLElement {
  const prefill = timings && formatRate(timings.prefillTokens, timings.prefillSeconds);
  const decode = timings && formatRate(timings.decodeTokens, timings.decodeSeconds);
  const parts = [
    `${formatNumber(tokens)} ${tokens === 1 ? 'token' : 'tokens'}, ${REASONS[reason]}`,
    prefill && `prefill ${formatNumber(timings.prefillTokens)} at ${prefill} tok/s`,
    decode && `decode ${decode} tok/s`,
    `seed ${seed}`,
  ];
  return h(
    'p',
    { class: 'outcome' },
    ...parts.filter((text): text is string => Boolean(text)).map((text) => h('span', {}, text)),
  );
}
