// chat, with the embedded model and a template that reads like one of its stories; and prompts that are piped to run.
import { writeFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { createFileSink } from '@duobit/format/node';
import { makeTinyModel, writeModel } from '@duobit/testkit';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  CHECKPOINT,
  createKeyboard,
  expectDocumented,
  PROMPT,
  runCli,
  runJson,
  useFolder,
} from './harness.ts';

const folder = useFolder();
const BOS = '<|start_story|>';
const TEMPLATE = `${BOS}{% for message in messages %}{% if message.role == 'system' %}Story: {% endif %}{{ message.content }}{{ '\\n' }}{% endfor %}`;
/** What the template makes of a conversation, as a prompt of `run`. */
const written = (...said: string[]): string => BOS + said.map((text) => `${text}\n`).join('');
let chat: string[] = [];

interface Exchange {
  readonly user: string;
  readonly assistant: string;
  readonly finish_reason: string;
  readonly tokens: number;
  readonly prompt_tokens: number;
  readonly cached_tokens: number;
}

const exchangesOf = (json: Record<string, unknown>): Exchange[] => json.exchanges as Exchange[];

beforeAll(async () => {
  await writeFile(folder.path('template.jinja'), TEMPLATE);
  chat = [
    'chat',
    CHECKPOINT,
    '--chat-template',
    folder.path('template.jinja'),
    '-n',
    '12',
    '--temperature',
    '0',
  ];
  // The embedded model has no braces; this one writes noise, of any characters.
  const noise = makeTinyModel({ architecture: { contextLength: 2048 } });
  await writeModel(noise, await createFileSink(folder.path('noise.duo')));
});

describe('duobit chat from a pipe', () => {
  it('answers each line, after all that was said before, of which the cache holds the most', async () => {
    const stdin = 'Once upon a time\n\nThen Lily\\\nsaid\n';
    const { code, json, stderr } = await runJson([...chat, '--system', 'Lily'], { stdin });
    expect(code).toBe(0);
    expect(stderr).toBe('');
    expectDocumented('chat', json);
    const [first, second, ...more] = exchangesOf(json);
    expect(more).toEqual([]);
    expect(first).toMatchObject({ user: 'Once upon a time', finish_reason: 'length', tokens: 12 });
    expect(second!.user).toBe('Then Lily\nsaid');
    expect(first!.cached_tokens).toBe(0);
    expect(second!.prompt_tokens).toBeGreaterThan(first!.prompt_tokens + 12);
    expect(second!.cached_tokens).toBeGreaterThanOrEqual(first!.prompt_tokens);
    const last = written('Story: Lily', first!.user, first!.assistant, second!.user);
    const alone = await runJson(['run', CHECKPOINT, '-p', last, '-n', '12']);
    expect(second!.prompt_tokens).toBe(alone.json.prompt_tokens);
    expect(second!.assistant).toBe(alone.json.text);
  });

  it('writes nothing but the answers, each with a line end', async () => {
    const stdin = `${PROMPT}\nThen\n`;
    const { stdout } = await runCli(chat, { stdin });
    const { json } = await runJson(chat, { stdin });
    expect(stdout).toBe(
      exchangesOf(json)
        .map(({ assistant }) => `${assistant}\n`)
        .join(''),
    );
    expect((await runCli(chat, { stdin: '' })).stdout).toBe('');
  });

  it('begins anew with /clear, ends with /exit and tells what it knows', async () => {
    const stdin = `${PROMPT}\n/clear\n${PROMPT}\n/frob\n/exit\nNever\n`;
    const { json, stderr } = await runJson(chat, { stdin });
    const [first, second, ...more] = exchangesOf(json);
    expect(more).toEqual([]);
    expect(second!.assistant).toBe(first!.assistant);
    expect(second!.prompt_tokens).toBe(first!.prompt_tokens);
    expect(stderr).toMatch(/^note: there is no command \/frob\n\/clear {2}forget/);
  });

  it('forgets the oldest exchanges where the context is full, and never the system message', async () => {
    const lines = ['One day, Tom found a big red ball.', 'He ran home.', 'Mom smiled.', 'The end.'];
    const argv = [...chat, '--system', 'Tom', '--context', '64'];
    const { code, json, stderr } = await runJson(argv, { stdin: lines.join('\n') });
    expect(code).toBe(0);
    expect(stderr).toContain('note: the context of 64 tokens is full; 1 exchange forgotten\n');
    const exchanges = exchangesOf(json);
    expect(exchanges.map(({ user }) => user)).toEqual(lines);
    for (const { prompt_tokens, finish_reason } of exchanges) {
      expect(prompt_tokens).toBeLessThanOrEqual(64 - 12);
      expect(finish_reason).toBe('length');
    }
    const forgotten = [...stderr.matchAll(/full; (\d+) exchange/g)].reduce(
      (sum, [, count]) => sum + Number(count),
      0,
    );
    expect(forgotten).toBeLessThan(lines.length);
    const before = exchanges.slice(forgotten, -1).flatMap((said) => [said.user, said.assistant]);
    const last = written('Story: Tom', ...before, lines.at(-1)!);
    const alone = await runJson(['run', CHECKPOINT, '-p', last, '-n', '1']);
    expect(exchanges.at(-1)!.prompt_tokens).toBe(alone.json.prompt_tokens);
  });

  it('holds each answer to a schema', async () => {
    const schema = {
      type: 'object',
      properties: { happy: { type: 'boolean' } },
      required: ['happy'],
      additionalProperties: false,
    };
    await writeFile(folder.path('schema.json'), JSON.stringify(schema));
    const argv = ['chat', folder.path('noise.duo'), '--json-schema', folder.path('schema.json')];
    const { json } = await runJson(argv, { stdin: 'Is Lily happy?\nAnd Tom?\n' });
    const answers = exchangesOf(json).map(({ assistant }) => JSON.parse(assistant));
    expect(answers).toEqual([{ happy: expect.any(Boolean) }, { happy: expect.any(Boolean) }]);
  });

  it.each([
    { name: 'a message that is too long', stdin: 'Tom ran. '.repeat(40), code: 'CONTEXT_TOO_LONG' },
    { name: 'a schema that is no object', argv: ['--json-schema', 'list.json'], code: 'GRAMMAR_INVALID' },
    { name: 'a schema that is no JSON', argv: ['--json-schema', 'template.jinja'], code: 'GRAMMAR_INVALID' },
    { name: 'no schema there', argv: ['--json-schema', 'none.json'], code: 'TEXT_UNREADABLE' },
  ])('ends with an error for $name', async ({ stdin = PROMPT, argv = [], code }) => {
    await writeFile(folder.path('list.json'), '[]');
    const [option = [], file = []] = [argv.slice(0, 1), argv.slice(1).map((name) => folder.path(name))];
    const result = await runJson([...chat, '--context', '64', ...option, ...file], { stdin });
    expect(result.code).toBe(1);
    expect(result.json).toMatchObject({ error: { code, remedy: expect.any(String) } });
  });

  it('needs a chat template', async () => {
    const { code, stderr } = await runCli(['chat', CHECKPOINT], { stdin: 'x' });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error CHAT_TEMPLATE_MISSING: .* --chat-template/);
  });

  it('ends with an error where its input cannot be read', async () => {
    const stdin = new Readable({
      read() {
        this.destroy(Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO', syscall: 'read' }));
      },
    });
    for (const argv of [chat, ['run', CHECKPOINT]]) {
      const { code, stderr } = await runCli(argv, { stdin });
      expect(code).toBe(1);
      expect(stderr).toMatch(/^error FILE_IO: EIO/);
    }
  });

  it('stops on Ctrl-C with 130 in the middle of an answer', async () => {
    const controller = new AbortController();
    const { code, stderr } = await runCli([...chat, '-n', '400'], {
      stdin: `${PROMPT}\nThen\n`,
      signal: controller.signal,
      onStdout: () => controller.abort(),
    });
    expect(code).toBe(130);
    expect(stderr).toMatch(/error ABORTED: stopped by the user/);
  });
});

describe('duobit chat at a terminal', () => {
  /** Types each text when the command asks for the next message; then waits for its end. */
  const converse = async (argv: readonly string[], typed: readonly string[], stopAt = '') => {
    const keyboard = createKeyboard();
    const rest = [...typed];
    let shown = '';
    const result = await runCli(argv, {
      stdin: keyboard,
      tty: true,
      onStdout: (text) => {
        shown += text;
        if (text.endsWith('> ') && rest.length > 0) keyboard.write(rest.shift()!);
        if (stopAt !== '' && shown.includes(stopAt)) {
          shown = '';
          keyboard.write('\x03');
        }
      },
    });
    return { ...result, left: rest };
  };

  it('asks, answers and ends with Ctrl-D', async () => {
    const { code, stdout, stderr, left } = await converse(chat, [`${PROMPT}\r`, '/help\r', '\x04']);
    const piped = await runCli(chat, { stdin: PROMPT });
    expect(left).toEqual([]);
    expect(code).toBe(0);
    expect(stdout).toContain(piped.stdout);
    expect(stderr).toContain('context 512; /help tells more\n');
    expect(stderr).toContain('/exit   end, as Ctrl-D does\n');
  });

  it('stops an answer with Ctrl-C and goes on after what was said of it, and ends with Ctrl-C between two', async () => {
    const argv = [...chat, '-n', '200'];
    const { code, stdout, left } = await converse(argv, [`${PROMPT}\r`, 'Then\r', '\x03'], ' the ');
    expect(code).toBe(0);
    expect(left).toEqual([]);
    const [, , first, , second] = stripVTControlCharacters(stdout).split(/(?:^|\n)> (.*)\r\n/) as string[];
    const piped = await runJson(argv, { stdin: PROMPT });
    const [whole] = exchangesOf(piped.json);
    expect(whole!.assistant.startsWith(first!)).toBe(true);
    expect(first!.length).toBeLessThan(whole!.assistant.length / 2);
    const after = await runCli(['run', CHECKPOINT, '-p', written(PROMPT, first!, 'Then'), '-n', '200']);
    expect(second).toMatch(/\n> $/);
    expect(after.stdout.startsWith(second!.slice(0, -3))).toBe(true);
    expect(second!.length).toBeLessThan(after.stdout.length);
  });

  it('ends after an answer during which Ctrl-D was pressed', async () => {
    const keyboard = createKeyboard();
    let pressed = false;
    const { code, stdout, stderr } = await runCli(chat, {
      stdin: keyboard,
      tty: true,
      onStdout: (text) => {
        if (text.endsWith('> ')) keyboard.write(`${PROMPT}\r`);
        else if (!pressed && text.includes('bird')) pressed = keyboard.write('\x04');
      },
    });
    expect(pressed).toBe(true);
    expect(code).toBe(0);
    expect(stderr).not.toContain('error');
    expect(stdout).toContain((await runCli(chat, { stdin: PROMPT })).stdout);
  });

  it('tells an error and asks again', async () => {
    const long = `${'Tom ran. '.repeat(40)}\r`;
    const { code, stderr, left } = await converse(
      [...chat, '--context', '64'],
      [long, `${PROMPT}\r`, '\x04'],
    );
    expect(left).toEqual([]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/error CONTEXT_TOO_LONG: the prompt has \d+ tokens; the context holds 64/);
  });
});

describe('a prompt that is piped to duobit run', () => {
  it('is what -p would be, without the last line end', async () => {
    const argv = ['run', CHECKPOINT, '-n', '8'];
    const given = await runJson([...argv, '-p', `${PROMPT}\nLily`]);
    for (const end of ['', '\n', '\r\n']) {
      const piped = await runJson(argv, { stdin: `${PROMPT}\nLily${end}` });
      expect(piped.json.text).toBe(given.json.text);
      expect(piped.json.prompt_tokens).toBe(given.json.prompt_tokens);
    }
  });

  it('must not be empty', async () => {
    const { code, stderr } = await runCli(['run', CHECKPOINT], { stdin: '' });
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error USAGE: the prompt that was piped is empty/);
  });

  it('holds the text to a schema', async () => {
    const schema = JSON.stringify({
      type: 'array',
      items: { enum: ['cat', 'dog'] },
      minItems: 2,
      maxItems: 2,
    });
    await writeFile(folder.path('animals.json'), schema);
    const argv = [
      'run',
      folder.path('noise.duo'),
      '-p',
      PROMPT,
      '--json-schema',
      folder.path('animals.json'),
    ];
    const { json } = await runJson(argv);
    expect(json.finish_reason).toBe('eos');
    expect(JSON.parse(String(json.text))).toEqual([
      expect.stringMatching(/^(cat|dog)$/),
      expect.stringMatching(/^(cat|dog)$/),
    ]);
  });

  it('that does not end is stopped by Ctrl-C', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    const { code } = await runCli(['run', CHECKPOINT], {
      stdin: Object.assign(createKeyboard(), { isTTY: false }),
      signal: controller.signal,
    });
    expect(code).toBe(130);
  });
});
