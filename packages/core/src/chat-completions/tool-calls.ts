// Finds calls of tools in the text of an answer as it comes. Models write them in several ways: between tags (Hermes, Qwen, SmolLM2, and
// what `writeToolsOut` asks for), behind a mark (Mistral), or as the whole answer (Llama 3, and Mistral where its mark has no text).
import { longestBeginning } from '../stop-matcher.ts';
import { createId } from './answers.ts';
import { isFields } from './fields.ts';
import type { ChatToolCall } from './types.ts';

/** What begins a call, and what ends it; null: the end of the text. */
const MARKS: readonly (readonly [begin: string, end: string | null])[] = [
  ['<tool_call>', '</tool_call>'],
  ['[TOOL_CALLS]', null],
  ['<|python_tag|>', null],
];
const BEGINS = MARKS.map(([begin]) => begin);
/** How a call begins that is the whole answer. */
const BARE = '{"name"';

/** What became certain: text that is no call, and calls. */
export interface AnswerPiece {
  readonly content: string;
  readonly calls: readonly ChatToolCall[];
}

export class ToolCallReader {
  readonly #names: ReadonlySet<string>;
  readonly #most: number;
  #held = '';
  /** What ends the call that is being read; undefined: none is. */
  #end: string | null | undefined;
  #begin = '';
  /** Nothing but blanks came since the last call, or since the beginning. */
  #isBlank = true;
  #count = 0;

  /**
   * @param names of the tools; other calls are text
   * @param most calls that are taken; further ones are left out
   */
  constructor(names: readonly string[], most: number) {
    this.#names = new Set(names);
    this.#most = most;
  }

  push(text: string): AnswerPiece {
    this.#held += text;
    return this.#read(false);
  }

  /**
   * Gives what is held back, at the end of the text.
   * @param isCut it did not end by itself: of a call that has begun, or may have, nothing is given
   */
  flush(isCut: boolean): AnswerPiece {
    return this.#read(true, isCut);
  }

  #read(isLast: boolean, isCut = false): AnswerPiece {
    let content = '';
    const calls: ChatToolCall[] = [];
    for (;;) {
      if (this.#end === undefined) {
        content += this.#takeText(isLast, isCut);
        if (this.#end === undefined) return { content, calls };
      }
      const end = this.#end;
      const at = end === null ? -1 : this.#held.indexOf(end);
      if (at < 0 && !isLast) return { content, calls };
      const body = at < 0 ? this.#held : this.#held.slice(0, at);
      const found = this.#parse(body);
      if (found) {
        calls.push(...found.slice(0, Math.max(0, this.#most - this.#count)));
        this.#count += found.length;
        this.#isBlank = true;
      } else if (at >= 0 || !isCut || !this.#isCall(body)) {
        content += this.#begin + body + (at < 0 ? '' : end);
        this.#isBlank = false;
      }
      this.#held = at < 0 ? '' : this.#held.slice(at + end!.length);
      this.#end = undefined;
    }
  }

  /** What is sure to be text; sets `#end` where a call begins behind it. */
  #takeText(isLast: boolean, isCut: boolean): string {
    const found = findMark(this.#held);
    if (found) {
      const text = this.#held.slice(0, found.at);
      [this.#begin, this.#end] = found.mark;
      this.#held = this.#held.slice(found.at + this.#begin.length);
      return this.#release(text);
    }
    if (this.#isBlank && this.#count === 0) {
      const start = this.#held.replaceAll(/\s/g, '').replace(/^\[/, '').slice(0, BARE.length);
      if (start === BARE) [this.#begin, this.#end] = ['', null];
      if (start === BARE || (!isLast && BARE.startsWith(start))) return '';
    }
    const kept = isLast && !isCut ? 0 : longestBeginning(this.#held, BEGINS);
    const text = this.#held.slice(0, this.#held.length - kept);
    if (this.#isBlank && !isLast && text.trim() === '') return '';
    this.#held = this.#held.slice(text.length);
    return this.#release(text);
  }

  /** Blanks before, between and behind calls are nothing. */
  #release(text: string): string {
    const isBeside = this.#isBlank && (this.#count > 0 || this.#end !== undefined);
    const released = isBeside && (this.#count > 0 || text.trim() === '') ? text.trimStart() : text;
    if (released.trim() !== '') this.#isBlank = false;
    return released;
  }

  /** Whether what does not end is a call: it has a mark, or the name of a tool. */
  #isCall(body: string): boolean {
    return this.#begin !== '' || this.#names.has(/"name"\s*:\s*"([^"]*)"/.exec(body)?.[1] ?? '');
  }

  /** Null for what is not JSON of one call, or of several in a list, of tools there are, with arguments that are an object. */
  #parse(body: string): ChatToolCall[] | null {
    let value: unknown;
    try {
      value = JSON.parse(body);
    } catch {
      return null;
    }
    const list: unknown[] = Array.isArray(value) ? value : [value];
    const calls: ChatToolCall[] = [];
    for (const call of list) {
      if (!isFields(call) || typeof call.name !== 'string' || !this.#names.has(call.name)) return null;
      const text = writeArguments(call.arguments ?? call.parameters ?? {});
      if (text === null) return null;
      calls.push({
        id: createId('call', '_'),
        type: 'function',
        function: { name: call.name, arguments: text },
      });
    }
    return calls.length === 0 ? null : calls;
  }
}

/** Null for what is no object: a call with that could not go back into the conversation. Some models write a text that is JSON. */
function writeArguments(values: unknown): string | null {
  if (typeof values !== 'string') return isFields(values) ? JSON.stringify(values) : null;
  try {
    return isFields(JSON.parse(values)) ? values : null;
  } catch {
    return null;
  }
}

function findMark(text: string): { readonly mark: (typeof MARKS)[number]; readonly at: number } | null {
  const found = MARKS.map((mark) => ({ mark, at: text.indexOf(mark[0]) })).filter(({ at }) => at >= 0);
  return found.sort((a, b) => a.at - b.at)[0] ?? null;
}
