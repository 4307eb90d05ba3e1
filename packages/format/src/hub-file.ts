// From an address on a hub to one file of one commit: one request of the hub's API, which names the commit and all files.
import { DuobitError } from './errors.ts';
import {
  explain,
  type HttpClient,
  REMEDY_CONNECTION,
  Stopper,
  statusFailure,
  TransientFailure,
} from './http-request.ts';
import { type HttpSourceOptions, prepareClient, retryPolicy, stopWith, withRetries } from './http-source.ts';
import { chooseModelFile, DEFAULT_ENDPOINT, hubFileUrl, parseHubAddress } from './hub-address.ts';

/** A file of a repository at one commit. */
export interface HubFile {
  readonly repo: string;
  /** 40 hexadecimal digits. */
  readonly commit: string;
  /** Path in the repository. */
  readonly file: string;
  /** Of that file in that commit, so that all files of a model are of one version. */
  readonly url: string;
}

export interface HubFileOptions extends Omit<HttpSourceOptions, 'onRead'> {
  /** Without a slash at its end; default `https://huggingface.co`. */
  readonly endpoint?: string;
}

/**
 * Finds what `hf:user/name[@revision][/file]` is now.
 * @throws DuobitError `HUB_ADDRESS`, `HUB_NOT_FOUND`, `HUB_GATED`, `HUB_NO_MODEL`, `HUB_SEVERAL_MODELS`, `HUB_ANSWER`, `HTTP_UNAUTHORIZED`,
 *   `HTTP_FORBIDDEN`, `HTTP_STATUS`, `HTTP_NETWORK`, `HTTP_REQUEST`, `SOURCE_MISSING`, `ABORTED`
 */
export async function locateHubFile(text: string, options: HubFileOptions = {}): Promise<HubFile> {
  const address = parseHubAddress(text);
  const { endpoint = DEFAULT_ENDPOINT } = options;
  const { repo, revision } = address;
  const url = `${endpoint}/api/models/${repo}/revision/${encodeURIComponent(revision)}`;
  const client = prepareClient(url, options);
  const stopper = new Stopper();
  const release = stopWith(stopper, options.signal, client.name);
  try {
    let answer: unknown = null;
    await withRetries(client, retryPolicy(options), stopper, async () => {
      answer = await requestJson(client, stopper);
    });
    const { commit, paths } = parseAnswer(answer, client.name);
    const file = chooseModelFile(address, paths);
    return { repo, commit, file, url: hubFileUrl(endpoint, repo, commit, file) };
  } finally {
    release();
  }
}

async function requestJson(client: HttpClient, stopper: Stopper): Promise<unknown> {
  const controller = new AbortController();
  const stop = (): void => controller.abort();
  const unlisten = stopper.listen(stop);
  const timer = setTimeout(stop, client.timeoutMs);
  try {
    const response = await client.fetch(client.url, {
      headers: { ...client.headers, Accept: 'application/json' },
      signal: controller.signal,
    });
    if (!response.ok) throw statusFailure(client, response);
    return JSON.parse(await response.text());
  } catch (error) {
    stopper.check();
    if (error instanceof DuobitError || error instanceof TransientFailure) throw error;
    if (error instanceof SyntaxError) return null;
    const late = controller.signal.aborted;
    const message = late ? `no answer came in ${client.timeoutMs} ms` : explain(error);
    throw new TransientFailure('HTTP_NETWORK', message, REMEDY_CONNECTION, null, error);
  } finally {
    clearTimeout(timer);
    unlisten();
  }
}

function parseAnswer(answer: unknown, source: string): { commit: string; paths: string[] } {
  const { sha, siblings } = { ...Object(answer) } as Readonly<Record<string, unknown>>;
  if (typeof sha !== 'string' || !/^[0-9a-f]{40}$/.test(sha) || !Array.isArray(siblings)) {
    throw new DuobitError('HUB_ANSWER', 'the answer does not name a commit and its files', {
      source,
      remedy: 'Check the address of the hub (HF_ENDPOINT), or try again later',
    });
  }
  const paths = siblings
    .map((entry: unknown) => ({ ...Object(entry) }) as Readonly<Record<string, unknown>>)
    .map(({ rfilename }) => rfilename)
    .filter((path): path is string => typeof path === 'string');
  return { commit: sha, paths };
}
