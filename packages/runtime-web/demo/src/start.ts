// Where a model comes from: the address bar (`?model=URL`), `model.json` beside the page, an address typed, or a file.

/** A model that can be asked for, and asked for again. */
export type ModelPlace =
  | { readonly kind: 'url'; readonly url: string; readonly name: string }
  | { readonly kind: 'file'; readonly file: File; readonly name: string };

/** What `model.json` beside index.html may say; addresses are relative to it. */
export interface PageModel {
  readonly place: ModelPlace | null;
  /** Beginnings to offer where nothing has been said yet. */
  readonly prompts: readonly string[];
  /** Texts that end an answer. */
  readonly stop: readonly string[];
}

const NOTHING: PageModel = { place: null, prompts: [], stop: [] };

/** As `loadModel` takes it. */
export function locate(place: ModelPlace): string | File {
  return place.kind === 'url' ? place.url : place.file;
}

export function placeOfUrl(url: string): ModelPlace {
  const address = new URL(url, document.baseURI);
  return {
    kind: 'url',
    url: address.href,
    name: decodeURIComponent(address.pathname.split('/').at(-1) ?? ''),
  };
}

export function placeOfFile(file: File): ModelPlace {
  return { kind: 'file', file, name: file.name };
}

/** `?model=` goes before `model.json`. A `model.json` that is not there or not of this form says nothing. */
export async function findStart(query: URLSearchParams): Promise<PageModel> {
  const asked = query.get('model');
  if (asked) return { ...NOTHING, place: placeOfUrl(asked) };
  try {
    const response = await fetch(new URL('model.json', document.baseURI));
    return response.ok ? parsePageModel(await response.json()) : NOTHING;
  } catch {
    return NOTHING;
  }
}

export function parsePageModel(found: unknown): PageModel {
  if (typeof found !== 'object' || found === null) return NOTHING;
  const { model, prompts, stop } = found as Readonly<Record<string, unknown>>;
  const texts = (list: unknown): string[] =>
    Array.isArray(list) ? list.filter((entry): entry is string => typeof entry === 'string') : [];
  return {
    place: typeof model === 'string' ? placeOfUrl(model) : null,
    prompts: texts(prompts),
    stop: texts(stop),
  };
}
