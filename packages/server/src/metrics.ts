// What Prometheus is told.
import type { FinishReason } from '@duobit/core';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

export interface Load {
  readonly running: number;
  readonly waiting: number;
  readonly sequences: number;
}

export type Metrics = ReturnType<typeof createMetrics>;

/** @param readLoad asked when the metrics are read */
export function createMetrics(readLoad: () => Load) {
  const register = new Registry();
  const registers = [register];
  collectDefaultMetrics({ register });

  const gauge = (name: keyof Load, help: string): void => {
    new Gauge({
      name: `duobit_${name}`,
      help,
      registers,
      collect() {
        this.set(readLoad()[name]);
      },
    });
  };
  gauge('running', 'Answers that are being written');
  gauge('waiting', 'Answers that wait for their turn');
  gauge('sequences', 'Answers that can be written at the same time');

  const requests = new Counter({
    name: 'duobit_requests_total',
    help: 'Requests by route and status; 499: the client left first',
    labelNames: ['method', 'route', 'status'],
    registers,
  });
  const seconds = new Histogram({
    name: 'duobit_request_seconds',
    help: 'From a request to the end of its answer',
    labelNames: ['route'],
    buckets: [0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600],
    registers,
  });
  const answers = new Counter({
    name: 'duobit_answers_total',
    help: 'Answers by how they ended',
    labelNames: ['reason'],
    registers,
  });
  const tokens = (kind: string, help: string) =>
    new Counter({ name: `duobit_${kind}_tokens_total`, help, registers });
  const promptTokens = tokens('prompt', 'Tokens of prompts');
  const reusedTokens = tokens('reused_prompt', 'Tokens of prompts that were in a KV cache already');
  const generatedTokens = tokens('generated', 'Tokens of answers');
  const firstToken = new Histogram({
    name: 'duobit_time_to_first_token_seconds',
    help: 'From a request to the first token of its answer, the time it waits included',
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80],
    registers,
  });
  const nextToken = new Histogram({
    name: 'duobit_time_per_output_token_seconds',
    help: 'From one token of an answer to the next',
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    registers,
  });

  return {
    register,
    noteRequest(method: string, route: string, status: number, took: number): void {
      requests.inc({ method, route, status });
      seconds.observe({ route }, took);
    },
    /** @param took seconds since the last token, or since the request came */
    noteToken(took: number, isFirst: boolean): void {
      generatedTokens.inc();
      (isFirst ? firstToken : nextToken).observe(took);
    },
    notePrompt(all: number, reused: number): void {
      promptTokens.inc(all);
      reusedTokens.inc(reused);
    },
    noteEnd(reason: FinishReason | 'error'): void {
      answers.inc({ reason });
    },
  };
}
