// JSON schemas and tools, by the helpers of the official client and by the Vercel AI SDK, as their own examples have it.
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { createGrammars } from '@duobit/grammar';
import { generateText, Output, stepCountIs, streamText, tool } from 'ai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ask, expectError, serve, useNoise } from './testing/served.ts';

const model = useNoise();
const grammars = createGrammars();

// No free text, which noise would go on with until the context is full.
const Weather = z.object({
  city: z.enum(['Paris', 'Rome']),
  sunny: z.boolean(),
  degrees: z.literal([10, 20]),
});

describe('the official client', () => {
  it('parses an answer by its schema', async () => {
    const { client } = await serve(model(), { grammars });
    const completion = await client.chat.completions.parse({
      ...ask,
      seed: 1,
      response_format: zodResponseFormat(Weather, 'weather'),
    });
    expect(Weather.safeParse(completion.choices[0]!.message.parsed).success).toBe(true);
    expect(completion.choices[0]!.finish_reason).toBe('stop');
  });

  it('streams an answer by its schema', async () => {
    const { client } = await serve(model(), { grammars });
    const runner = client.chat.completions.stream({
      ...ask,
      response_format: zodResponseFormat(Weather, 'weather'),
    });
    const final = await runner.finalChatCompletion();
    expect(Weather.safeParse(final.choices[0]!.message.parsed).success).toBe(true);
  });

  it.each([false, true])('runs a tool with what the model calls it with, streamed: %s', async (stream) => {
    const { client } = await serve(model(), { grammars });
    const called: unknown[] = [];
    const request = {
      ...ask,
      tool_choice: { type: 'function', function: { name: 'weather' } } as const,
      tools: [
        {
          type: 'function' as const,
          function: {
            name: 'weather',
            description: 'Weather of a city',
            parse: JSON.parse,
            parameters: {
              type: 'object',
              properties: { city: { enum: ['Paris', 'Rome'] } },
              required: ['city'],
            },
            function: (input: { city: string }) => {
              called.push(input);
              return { degrees: 20 };
            },
          },
        },
      ],
    };
    const runner = stream
      ? client.chat.completions.runTools({ ...request, stream: true })
      : client.chat.completions.runTools(request);
    await runner.done();
    expect(called).toEqual([{ city: expect.stringMatching(/^(Paris|Rome)$/) }]);
    expect(runner.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool']);
  });

  it('is told which schema cannot be used, and where there is nothing that could', async () => {
    const { post } = await serve(model(), { grammars });
    const response_format = { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'frob' } } };
    await expectError(await post({ ...ask, response_format }), 400, { code: 'GRAMMAR_INVALID' });
    await expectError(await post({ ...ask, response_format, stream: true }), 400, {
      code: 'GRAMMAR_INVALID',
    });
    const without = await serve(model());
    const refused = { code: 'CHAT_REQUEST', param: 'response_format' };
    await expectError(await without.post({ ...ask, response_format }), 400, refused);
  });
});

describe('the Vercel AI SDK', () => {
  const open = async () => {
    const { url } = await serve(model(), { grammars });
    const provider = createOpenAICompatible({
      name: 'duobit',
      baseURL: `${url}/v1`,
      includeUsage: true,
      supportsStructuredOutputs: true,
    });
    return provider('tiny');
  };
  const request = { prompt: 'Once upon a time', maxRetries: 0 } as const;

  it('generates and streams text', async () => {
    const sdk = await open();
    const settings = { ...request, model: sdk, temperature: 0, maxOutputTokens: 12 };
    const whole = await generateText(settings);
    expect(whole.usage.outputTokens).toBe(12);
    const streamed = streamText(settings);
    let text = '';
    for await (const piece of streamed.textStream) text += piece;
    expect(text).toBe(whole.text);
    expect((await streamed.usage).outputTokens).toBe(12);
  });

  it('generates objects and calls tools', async () => {
    const sdk = await open();
    const { output } = await generateText({
      ...request,
      model: sdk,
      output: Output.object({ schema: Weather }),
    });
    expect(Weather.safeParse(output).success).toBe(true);
    const weather = tool({
      description: 'Weather of a city',
      inputSchema: z.object({ city: z.enum(['Paris', 'Rome']) }),
      execute: async ({ city }) => ({ city, degrees: 20 }),
    });
    const { toolResults } = await generateText({
      ...request,
      model: sdk,
      tools: { weather },
      toolChoice: { type: 'tool', toolName: 'weather' },
      stopWhen: stepCountIs(1),
    });
    expect(toolResults).toMatchObject([{ toolName: 'weather', output: { degrees: 20 } }]);
  });
});
