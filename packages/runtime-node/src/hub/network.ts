// The network as the environment describes it: proxies, the hub's address, and a token that only the hub is ever sent.
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { DEFAULT_ENDPOINT, DuobitError, type Fetch } from '@duobit/format';

/** Environment variables, as in `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** How servers are reached: hub, token, proxies. */
export interface Network {
  /** Of the hub, without a slash at its end. */
  readonly endpoint: string;
  /** Null: none is set. */
  readonly token: string | null;
  /** Requests of the network are forbidden. */
  readonly offline: boolean;
  /** Through the proxies; requests to the hub's origin carry the token, and lose it when they are led elsewhere. */
  readonly fetch: Fetch;
}

const isSet = (value: string | undefined): boolean => /^(1|true|yes|on)$/i.test(value ?? '');

/**
 * Reads `HF_ENDPOINT`, `HF_TOKEN` (or the file that `hf auth login` wrote: `HF_TOKEN_PATH`, else `token` in `HF_HOME`),
 * `HF_HUB_DISABLE_IMPLICIT_TOKEN`, `HF_HUB_OFFLINE`, and `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY` in capitals or not.
 * @throws DuobitError `HTTP_REQUEST` for an endpoint or a proxy that is no address, `HUB_TOKEN` for a token that no header can hold
 */
export async function openNetwork(env: Environment = process.env): Promise<Network> {
  const endpoint = readEndpoint(env);
  const token = await readToken(env);
  const { origin } = new URL(endpoint);
  const send = await openFetch(env);
  return {
    endpoint,
    token,
    offline: isSet(env.HF_HUB_OFFLINE),
    fetch: (url, init) => {
      if (token === null || new URL(url).origin !== origin) return send(url, init);
      const headers = new Headers(init.headers);
      if (!headers.has('Authorization')) headers.set('Authorization', `Bearer ${token}`);
      return send(url, { ...init, headers });
    },
  };
}

function readEndpoint(env: Environment): string {
  const text = env.HF_ENDPOINT?.trim() || DEFAULT_ENDPOINT;
  if (/^https?:\/\//i.test(text) && URL.canParse(text)) return text.replace(/\/+$/, '');
  throw new DuobitError('HTTP_REQUEST', 'the address of the hub is not an http or https address', {
    where: 'HF_ENDPOINT',
    remedy: `Correct it, or unset it for ${DEFAULT_ENDPOINT}`,
  });
}

async function readToken(env: Environment): Promise<string | null> {
  const cache = env.XDG_CACHE_HOME?.trim() || join(env.HOME ?? homedir(), '.cache');
  const home = env.HF_HOME?.trim() || join(cache, 'huggingface');
  let token = env.HF_TOKEN?.trim() || env.HUGGING_FACE_HUB_TOKEN?.trim() || '';
  if (token === '' && !isSet(env.HF_HUB_DISABLE_IMPLICIT_TOKEN))
    token = (await readFile(env.HF_TOKEN_PATH?.trim() || join(home, 'token'), 'utf8').catch(() => '')).trim();
  if (token === '') return null;
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new DuobitError('HUB_TOKEN', 'the token holds characters that no token has', {
    where: 'HF_TOKEN',
    remedy: 'Copy the token again; it begins with hf_',
  });
}

/** Node's own fetch knows no proxies; undici, which it is made of, does, and is only loaded where there are some. */
async function openFetch(env: Environment): Promise<Fetch> {
  const httpProxy = env.http_proxy || env.HTTP_PROXY;
  const httpsProxy = env.https_proxy || env.HTTPS_PROXY;
  if (!httpProxy && !httpsProxy) return (url, init) => fetch(url, init);
  const { EnvHttpProxyAgent, fetch: send } = await import('undici');
  // Empty texts keep undici from reading the process's own environment.
  const settings = {
    httpProxy: httpProxy ?? '',
    httpsProxy: httpsProxy ?? '',
    noProxy: env.no_proxy ?? env.NO_PROXY ?? '',
  };
  let dispatcher: InstanceType<typeof EnvHttpProxyAgent>;
  try {
    dispatcher = new EnvHttpProxyAgent(settings);
  } catch {
    // Without its cause, which holds the address and so a password.
    throw new DuobitError('HTTP_REQUEST', 'the address of a proxy is not valid', {
      where: 'HTTPS_PROXY, HTTP_PROXY',
      remedy: 'Write it as http://host:port',
    });
  }
  // Types of two releases of the same library.
  return (url, init) => send(url, { ...(init as object), dispatcher }) as unknown as Promise<Response>;
}
