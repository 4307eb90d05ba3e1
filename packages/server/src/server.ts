// A model behind OpenAI's HTTP API: routes, checks at the door, and an orderly end.
import type { AddressInfo } from 'node:net';
import { type ChatModel, createChatCompletions, createCompletions, createTurns } from '@duobit/core';
import { DuobitError } from '@duobit/format';
import cors from '@fastify/cors';
import fastify, {
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from 'fastify';
import { type Answer, sendAnswer } from './answers.ts';
import { createKeyCheck } from './api-key.ts';
import { refuseConnection } from './connection-errors.ts';
import { describeFailure } from './failure.ts';
import { LiveRequest } from './live-request.ts';
import { meterModel } from './metered-model.ts';
import { createMetrics } from './metrics.ts';
import { MOST_SECONDS, type ResolvedOptions, resolveOptions, type ServerOptions } from './options.ts';
import { describeRequest } from './request-log.ts';

/** A model behind OpenAI's HTTP API. */
export interface DuobitServer {
  /** The application, for routes and hooks of one's own before `listen`. */
  readonly app: FastifyInstance;
  /**
   * Begins to serve, on a free port where `port` is 0 or not given.
   * @returns the server's address, 'http://127.0.0.1:8080'
   * @throws DuobitError `SERVER_LISTEN`
   */
  listen(options?: {
    readonly host?: string | undefined;
    readonly port?: number | undefined;
  }): Promise<string>;
  /**
   * Stops to serve: answers that are being written may be completed, those that wait are refused at once. The model stays the
   * caller's. What is still being written after `graceSeconds` (0) ends with the error `SERVER_CLOSING`.
   */
  close(options?: { readonly graceSeconds?: number | undefined }): Promise<void>;
}

/** @throws DuobitError `SERVER_OPTION` */
export function createServer(model: ChatModel, serverOptions: ServerOptions = {}): DuobitServer {
  const options = resolveOptions(serverOptions, model);
  const { queue, grammars } = options;
  const turns = createTurns(model, queue);
  const { sequences = 1 } = model;
  const metrics = createMetrics(() => ({ running: turns.taken, waiting: turns.waiting, sequences }));
  const lives = new Set<LiveRequest>();
  const liveOf = new WeakMap<FastifyRequest, LiveRequest>();
  let isClosing = false;

  const app = createApplication(options);
  app.addHook('onRequest', async (request, reply) => {
    // fastify's own hook for it does not run when the client has left.
    let isSent = false;
    // A connection that is closed does not tell it any more.
    const { ip } = request;
    reply.raw.once('finish', () => {
      isSent = true;
    });
    reply.raw.once('close', () => {
      const took = reply.elapsedTime / 1000;
      const { method = 'none', url = 'none' } = request.routeOptions;
      const status = isSent ? reply.raw.statusCode : 499;
      metrics.noteRequest(String(method), url, status, took);
      const entry = describeRequest(
        request,
        ip,
        status,
        took,
        liveOf.get(request),
        options.log?.prompts ?? false,
      );
      request.log.info(entry, 'request');
    });
  });
  const refuseWhenClosing = async (_request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (!isClosing) return;
    reply.header('connection', 'close');
    throw closingError();
  };
  app.addHook('onRequest', refuseWhenClosing);
  // And those whose body came meanwhile.
  app.addHook('preHandler', refuseWhenClosing);

  app.get('/health', async () => ({ status: 'ok' }));
  app.get('/ready', async () => ({ status: 'ready' }));

  app.register(async (api) => {
    if (options.apiKey !== null) {
      const checkKey = createKeyCheck(options.apiKey);
      api.addHook('onRequest', async (request) => checkKey(request.headers.authorization));
    }
    api.get('/metrics', async (_request, reply) => {
      reply.type(metrics.register.contentType);
      return metrics.register.metrics();
    });

    const entry = {
      id: options.name,
      object: 'model',
      created: Math.floor(Date.now() / 1000),
      owned_by: 'duobit',
    };
    api.get('/v1/models', async () => ({ object: 'list', data: [entry] }));
    api.get<{ Params: { id: string } }>('/v1/models/:id', async ({ params: { id } }) => {
      if (id === options.name) return entry;
      throw new DuobitError('SERVER_NOT_FOUND', `there is no model ${JSON.stringify(id)}`, {
        where: 'model',
        remedy: `This server has ${JSON.stringify(options.name)}`,
      });
    });

    const route = (url: string, answer: (model: ChatModel) => Answer): void => {
      api.post(url, async (request, reply) => {
        const live = new LiveRequest(request.raw, reply.raw, options.timeoutSeconds);
        liveOf.set(request, live);
        lives.add(live);
        void live.closed.then(() => lives.delete(live));
        return sendAnswer(request, reply, live, answer(meterModel(model, live, metrics, options)), options);
      });
    };
    const shared = { turns, grammars };
    route('/v1/chat/completions', (seen) => createChatCompletions(seen, shared).completions.create as Answer);
    route('/v1/completions', (seen) => createCompletions(seen, shared).create as Answer);
  });

  return {
    app,
    async listen({ host = '127.0.0.1', port = 0 } = {}) {
      await app.listen({ host, port }).catch((cause: unknown) => {
        throw new DuobitError('SERVER_LISTEN', `cannot listen: ${(cause as Error).message}`, {
          where: `${host}:${port}`,
          remedy: 'Choose another address or port, or stop what uses it',
          cause,
        });
      });
      app.server.maxConnections = options.maxConnections;
      return describeAddress(app.server.address() as AddressInfo);
    },
    async close({ graceSeconds = 0 } = {}) {
      isClosing = true;
      const closed = app.close();
      const end = (which: (live: LiveRequest) => boolean): void => {
        for (const live of lives) if (which(live)) live.end(closingError());
      };
      end(({ begun }) => begun === 0);
      const timer = setTimeout(end, Math.min(graceSeconds, MOST_SECONDS) * 1000, () => true);
      // One that has just come in is among them only after the first wait.
      while (lives.size > 0) await Promise.all(Array.from(lives, (live) => live.closed));
      clearTimeout(timer);
      app.server.closeAllConnections();
      await closed;
    },
  };
}

function createApplication(options: ResolvedOptions): FastifyInstance {
  const { log, receiveSeconds } = options;
  const app = fastify({
    logger: log === null ? false : { level: log.level, stream: log.stream },
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: options.bodyLimit,
    requestTimeout: receiveSeconds * 1000,
    keepAliveTimeout: options.keepAliveSeconds * 1000,
    forceCloseConnections: 'idle',
    // Answered by a hook, in the form of all other errors.
    return503OnClosing: false,
    routerOptions: { maxParamLength: 1000 },
    http: {
      headersTimeout: (receiveSeconds * 1000) / 3,
      // Default: 30 s, which would be added to the above.
      connectionsCheckingInterval: Math.min(1000, (receiveSeconds * 1000) / 3),
    },
    clientErrorHandler: refuseConnection,
    frameworkErrors: sendFailure,
  });
  // Only what a page of another origin cannot send without asking first.
  app.removeContentTypeParser('text/plain');
  app.setErrorHandler(sendFailure);
  app.setNotFoundHandler(async ({ method, url }) => {
    throw new DuobitError('SERVER_NOT_FOUND', `there is no ${method} ${url.split('?')[0]}`, {
      remedy: 'Check the address',
    });
  });
  if (options.cors.length > 0) {
    const origin = options.cors.includes('*') ? '*' : [...options.cors];
    const exposedHeaders = ['retry-after', 'x-should-retry'];
    app.register(cors, { origin, methods: ['GET', 'POST'], exposedHeaders, maxAge: 3600 });
  }
  return app;
}

function sendFailure(error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const { status, headers, body } = describeFailure(error);
  // A client who has left is no failure of the server; its request's line says so.
  const isLeft = error instanceof DuobitError && error.code === 'ABORTED';
  if (status === 500 && !isLeft) request.log.error(error);
  reply.headers(headers);
  if (status === 401) reply.header('www-authenticate', 'Bearer');
  reply.status(status).send(body);
}

function closingError(): DuobitError {
  return new DuobitError('SERVER_CLOSING', 'the server is about to stop', {
    remedy: 'Ask again, or another server',
  });
}

function describeAddress({ address, family, port }: AddressInfo): string {
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
