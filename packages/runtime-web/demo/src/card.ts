// What the page says about a model, read from its container's header before any weight is.
import { accountSizes, type Container, type Manifest, openContainer, type SizeAccount } from '@duobit/format';

export interface ModelCard {
  readonly container: Container;
  readonly manifest: Manifest;
  readonly sizes: SizeAccount;
  /** Null where the container carries none. */
  readonly license: string | null;
  /** Metadata that speak of quality, by their keys. */
  readonly quality: readonly (readonly [key: string, value: string])[];
  readonly metadata: readonly (readonly [key: string, value: string])[];
}

/** More of a licence than this is not worth a page's memory. */
const MOST_LICENSE_BYTES = 1 << 20;

/**
 * Opens a container for its card and its bit planes. The card owns the container.
 * @throws DuobitError what `openContainer` and the source throw
 */
export async function readCard(source: Parameters<typeof openContainer>[0]): Promise<ModelCard> {
  let container: Container;
  try {
    container = await openContainer(source);
  } catch (error) {
    await source.close();
    throw error;
  }
  try {
    const { manifest } = container;
    const pairs = Object.entries(manifest.metadata);
    const speaksOfQuality = ([key]: readonly [string, string]) =>
      /perplexity|ppl|accuracy|quality/i.test(key);
    return {
      container,
      manifest,
      sizes: accountSizes(manifest),
      license: await readLicense(container),
      quality: pairs.filter(speaksOfQuality),
      metadata: pairs.filter((pair) => !speaksOfQuality(pair)),
    };
  } catch (error) {
    await container.close();
    throw error;
  }
}

async function readLicense(container: Container): Promise<string | null> {
  const asset = container.manifest.assets.find(({ role }) => role === 'license');
  if (!asset || asset.length > MOST_LICENSE_BYTES) return null;
  const bytes = await container.readAsset('license');
  return bytes && new TextDecoder().decode(bytes);
}
