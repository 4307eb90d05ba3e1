// What the page says about a model, read from its container's header before any weight is.
import { accountSizes, type Container, type Manifest, type SizeAccount } from '@duobit/format';
import { listBitTensors } from './planes.ts';

export interface ModelCard {
  /** Of the file. */
  readonly name: string;
  readonly manifest: Manifest;
  readonly sizes: SizeAccount;
  /** Names of the tensors that have bit planes, in the order of first use. */
  readonly bitTensors: readonly string[];
  /** Null where the container carries none. */
  readonly license: string | null;
  /** Metadata that speak of quality. */
  readonly quality: readonly MetadataPair[];
  readonly metadata: readonly MetadataPair[];
}

type MetadataPair = readonly [key: string, value: string];

/** More of a licence than this is not worth a page's memory. */
const MOST_LICENSE_BYTES = 1 << 20;

/** @throws DuobitError `CHUNK_HASH`, or what the source throws */
export async function readCard(container: Container): Promise<ModelCard> {
  const { manifest } = container;
  const pairs = Object.entries(manifest.metadata);
  const speaksOfQuality = ([key]: MetadataPair) => /perplexity|ppl|accuracy|quality/i.test(key);
  return {
    name: container.name.split('/').at(-1) ?? container.name,
    manifest,
    sizes: accountSizes(manifest),
    bitTensors: listBitTensors(container),
    license: await readLicense(container),
    quality: pairs.filter(speaksOfQuality),
    metadata: pairs.filter((pair) => !speaksOfQuality(pair)),
  };
}

async function readLicense(container: Container): Promise<string | null> {
  const asset = container.manifest.assets.find(({ role }) => role === 'license');
  if (!asset || asset.length > MOST_LICENSE_BYTES) return null;
  const bytes = await container.readAsset('license');
  return bytes && new TextDecoder().decode(bytes);
}
