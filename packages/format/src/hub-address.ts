// Addresses of models: `hf:user/name[@revision][/file]` on a Hugging Face hub, or any other server's https address. Pure.
import { DuobitError } from './errors.ts';

/** The public hub. */
export const DEFAULT_ENDPOINT = 'https://huggingface.co';

/** A model on a hub, taken apart. */
export interface HubAddress {
  /** `user/name`. */
  readonly repo: string;
  /** Branch, tag or commit; default `main`. */
  readonly revision: string;
  /** Path of the container in the repository; null where the repository has only one. */
  readonly file: string | null;
}

const PART = '[A-Za-z0-9][A-Za-z0-9._-]{0,95}';
const ADDRESS = new RegExp(`^hf:(${PART}/${PART})(?:@([^/@]+))?(?:/(.+))?$`);

/** Whether a text is meant as `hf:user/name…`. */
export const isHubAddress = (text: string): boolean => /^hf:/i.test(text);

/** Whether a text names a model on a server and not a file. */
export const isRemoteAddress = (text: string): boolean => /^(hf:|https?:\/\/)/i.test(text);

/** Beginnings of addresses on a hub that are not of models. */
const NO_MODELS = /^(datasets|spaces|api|docs|papers|collections)\//;
const PAGE = new RegExp(
  `^(${PART}/${PART})(?:/(?:(?:tree|(blob))/([^/]+)(?:/(.+))?|(?!resolve/|raw/).*))?/?$`,
);

/**
 * People give the address of the page that they see; what a model is loaded by is another.
 * @param endpoint of the hub, beside the public one
 * @throws DuobitError `MODEL_ADDRESS` for a model's page on a hub
 */
export function refuseHubPage(address: string, endpoint: string = DEFAULT_ENDPOINT): void {
  if (!/^https?:/i.test(address) || !URL.canParse(address)) return;
  const { origin, pathname } = new URL(address);
  const plain = origin + pathname;
  const hub = [endpoint, DEFAULT_ENDPOINT].find((base) => plain.startsWith(`${base}/`));
  const path = hub === undefined ? '' : plain.slice(hub.length + 1);
  const [, repo, blob, revision = 'main', rest] = PAGE.exec(path) ?? [];
  // A file of a server that is named as the hub.
  if (repo === undefined || NO_MODELS.test(path) || (blob === undefined && path.endsWith('.duo'))) return;
  const file = blob === undefined || rest === undefined ? '' : `/${decode(rest) ?? rest}`;
  throw new DuobitError('MODEL_ADDRESS', 'this is a page about a model, and not its file', {
    source: plain.slice(0, 200),
    remedy: `Write hf:${repo}${revision === 'main' ? '' : `@${revision}`}${file}`,
  });
}

/** A slash in a revision is written `%2F`: `hf:user/name@refs%2Fpr%2F1`. @throws DuobitError `HUB_ADDRESS` */
export function parseHubAddress(text: string): HubAddress {
  const [, repo, revision = 'main', file = null] = ADDRESS.exec(text) ?? [];
  const isPath = file === null || file.split('/').every((part) => !['', '.', '..'].includes(part));
  const decoded = decode(revision);
  if (repo === undefined || !isPath || decoded === null) {
    throw new DuobitError('HUB_ADDRESS', `"${text.slice(0, 200)}" is no address of a model on a hub`, {
      remedy: 'Write hf:user/name, hf:user/name@revision or hf:user/name/file.duo',
    });
  }
  return { repo, revision: decoded, file };
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** Where the hub has a file. */
export function hubFileUrl(endpoint: string, repo: string, revision: string, file: string): string {
  const path = file.split('/').map(encodeURIComponent).join('/');
  return `${endpoint}/${repo}/resolve/${encodeURIComponent(revision)}/${path}`;
}

/**
 * The container of a repository: the one named, or the only one. Of a model in several files it is the header file.
 * @throws DuobitError `HUB_NO_MODEL`, `HUB_SEVERAL_MODELS`
 */
export function chooseModelFile({ repo, file }: HubAddress, paths: readonly string[]): string {
  const models = paths.filter((path) => path.endsWith('.duo'));
  const list = models.slice(0, 20).join(', ');
  if (file !== null) {
    if (paths.includes(file)) return file;
    throw new DuobitError('HUB_NO_MODEL', `the repository has no file ${file}`, {
      source: `hf:${repo}`,
      remedy: models.length > 0 ? `Name one that it has: ${list}` : 'Check the name of the repository',
    });
  }
  const [only] = models;
  if (only === undefined) {
    throw new DuobitError('HUB_NO_MODEL', 'the repository has no .duo file', {
      source: `hf:${repo}`,
      remedy: 'Name another repository, or make a container of its checkpoint with `duobit quantize`',
    });
  }
  if (models.length > 1) {
    throw new DuobitError('HUB_SEVERAL_MODELS', `the repository has ${models.length} .duo files: ${list}`, {
      source: `hf:${repo}`,
      remedy: `Name one of them: hf:${repo}/${only}`,
    });
  }
  return only;
}
