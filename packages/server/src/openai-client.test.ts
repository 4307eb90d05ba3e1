// The official client of OpenAI's API against the embedded model.
import OpenAI from 'openai';
import { describe, expect, it } from 'vitest';
import { ask, collect, eventually, serve, useEmbedded } from './testing/served.ts';

const model = useEmbedded();

const greedy = { ...ask, temperature: 0, max_tokens: 24 };

describe('models', () => {
  it('are one, by the name that the server was given', async () => {
    const { client } = await serve(model(), { name: 'user/tiny' });
    const list = [];
    for await (const entry of client.models.list()) list.push(entry);
    expect(list).toMatchObject([{ id: 'user/tiny', object: 'model', owned_by: 'duobit' }]);
    expect(await client.models.retrieve('user/tiny')).toEqual(list[0]);
    const error = await client.models.retrieve('gpt-4').catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OpenAI.NotFoundError);
    expect(error).toMatchObject({ code: 'model_not_found', param: 'model' });
  });
});

describe('chat', () => {
  it('answers as the model does', async () => {
    const { client } = await serve(model(), { name: 'tiny' });
    const answer = await client.chat.completions.create(greedy);
    let text = '';
    for await (const event of model().generate([...ask.messages], { maxTokens: 24 })) text += event.text;
    expect(answer).toMatchObject({
      object: 'chat.completion',
      model: 'tiny',
      choices: [{ index: 0, finish_reason: 'length', message: { role: 'assistant', content: text } }],
      usage: { completion_tokens: 24 },
    });
    const { prompt_tokens, total_tokens } = answer.usage!;
    expect(total_tokens).toBe(prompt_tokens + 24);
  });

  it('streams the same, with the usage when it is asked for', async () => {
    const { client } = await serve(model());
    const whole = await client.chat.completions.create(greedy);
    const plain = await collect(await client.chat.completions.create({ ...greedy, stream: true }));
    const content = whole.choices[0]!.message.content;
    expect(plain.text).toBe(content);
    expect(plain.chunks.at(-1)!.choices[0]!.finish_reason).toBe('length');
    expect(plain.chunks.every((chunk) => chunk.usage === undefined)).toBe(true);
    const stream_options = { include_usage: true };
    const counted = await collect(
      await client.chat.completions.create({ ...greedy, stream: true, stream_options }),
    );
    expect(counted.text).toBe(content);
    expect(counted.chunks.at(-1)).toMatchObject({ choices: [], usage: whole.usage });
  });

  it('has answers of several clients written together, each as if alone', async () => {
    const { client, figure } = await serve(model());
    const prompts = ['Once upon a time', 'The dog', 'A girl named Lily', 'One day', 'Tom was', 'It rained'];
    const create = async (content: string): Promise<string | null> => {
      const messages = [{ role: 'user', content } as const];
      return (await client.chat.completions.create({ ...greedy, messages })).choices[0]!.message.content;
    };
    const together = await Promise.all(prompts.map(create));
    const alone = [];
    for (const prompt of prompts) alone.push(await create(prompt));
    expect(together).toEqual(alone);
    expect(await figure('duobit_running')).toBe(0);
    // The second round's prompts were those of the first.
    expect(await figure('duobit_reused_prompt_tokens_total')).toBeGreaterThan(0);
  });

  it('repeats an answer by its seed and stops before a text', async () => {
    const { client } = await serve(model());
    const create = async (seed: number, stop: string[] = []) =>
      (await client.chat.completions.create({ ...ask, temperature: 1, max_tokens: 40, seed, stop }))
        .choices[0]!;
    const first = await create(1);
    expect(await create(1)).toEqual(first);
    expect((await create(2)).message.content).not.toBe(first.message.content);
    const words = first.message.content!.split(' ');
    const word = words[Math.floor(words.length / 2)]!;
    const stopped = await create(1, [word]);
    expect(stopped.finish_reason).toBe('stop');
    expect(stopped.message.content).toBe(first.message.content!.split(word)[0]);
  });

  it('gives the turn of a stream that is aborted to the next request at once', async () => {
    const { name, contextLength } = model();
    const { client, figure } = await serve({
      name,
      contextLength,
      sequences: 1,
      generate: (prompt, options) => model().generate(prompt, { ...options, ignoreEos: true }),
    });
    const stream = await client.chat.completions.create({ ...ask, stream: true });
    for await (const chunk of stream) if (chunk.choices[0]!.delta.content) break;
    await eventually(async () => expect(await figure('duobit_running')).toBe(0));
    const next = await client.chat.completions.create({ ...ask, max_tokens: 2 });
    expect(next.usage!.completion_tokens).toBe(2);
    expect(await figure('duobit_answers_total', 'aborted')).toBe(1);
  });

  it('names what cannot be answered', async () => {
    const { client } = await serve(model(), { maxTokens: 30 });
    const refusal = (request: object): Promise<unknown> =>
      client.chat.completions.create({ ...ask, ...request }).then(
        () => null,
        ({ status, code, param, type, message }) => ({ status, code, param, type, message }),
      );
    const invalid = { status: 400, type: 'invalid_request_error' };
    expect(await refusal({ frobnicate: 1 })).toMatchObject({
      ...invalid,
      code: 'CHAT_REQUEST',
      param: 'frobnicate',
    });
    for (const field of ['top_p', 'min_p', 'top_k', 'repetition_penalty', 'temperature'])
      expect(await refusal({ [field]: -7 }), field).toMatchObject({
        ...{ ...invalid, code: 'SAMPLER_OPTION', param: field },
        message: expect.stringContaining(`${field} is -7`),
      });
    expect(await refusal({ messages: [] })).toMatchObject({ ...invalid, param: 'messages' });
    expect(await refusal({ max_tokens: 31 })).toMatchObject({ ...invalid, param: 'max_tokens' });
    for (const length of [3000, 500_000])
      for (const stream of [false, true])
        expect(
          await refusal({ stream, messages: [{ role: 'user', content: 'x'.repeat(length) }] }),
        ).toMatchObject({
          ...invalid,
          code: 'context_length_exceeded',
        });
    const { usage } = await client.chat.completions.create(ask);
    expect(usage!.completion_tokens).toBeLessThanOrEqual(30);
    // Without a limit of the server's own the context is one that answers end at.
    const { client: free } = await serve(model());
    const long = await free.chat.completions.create({ ...ask, max_tokens: 100_000 });
    expect(long.usage!.total_tokens).toBeLessThanOrEqual(model().contextLength + 1);
  });
});

describe('completions of texts', () => {
  it('go on with a text, whole and streamed', async () => {
    const { client } = await serve(model(), { name: 'tiny' });
    const request = { model: 'any', prompt: 'Once upon a time', temperature: 0, max_tokens: 24 };
    const whole = await client.completions.create(request);
    let text = '';
    for await (const event of model().generate(request.prompt, { maxTokens: 24 })) text += event.text;
    expect(whole).toMatchObject({
      object: 'text_completion',
      model: 'tiny',
      choices: [{ text, finish_reason: 'length' }],
      usage: { completion_tokens: 24 },
    });
    let streamed = '';
    for await (const { choices } of await client.completions.create({ ...request, stream: true }))
      streamed += choices[0]?.text ?? '';
    expect(streamed).toBe(text);
    const refused = client.completions.create({ ...request, prompt: 'x'.repeat(500_000) });
    await expect(refused).rejects.toMatchObject({ status: 400, code: 'context_length_exceeded' });
  });
});
