// A model's container wherever it is: a file, the cache, or a server, whose model is stored first or only read from.
import { type ByteSource, createHttpSource, isRemoteAddress } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { openNetwork } from './network.ts';
import { chooseCache, locateModel, type PullOptions, pullModel, readAddress } from './pull.ts';

/** Options of `openModelSource`. */
export interface OpenSourceOptions extends PullOptions {
  /** False: what is not in the cache is read by ranges and not stored. Default true. */
  readonly store?: boolean | undefined;
}

/**
 * Opens the container at a path, `hf:user/name[@revision][/file]`, or an http or https address. What has an address is downloaded once;
 * from then on the stored copy is used and no server is asked, so that it works without a network. `pullModel` looks for a new version.
 * @throws DuobitError as `createFileSource` and `pullModel`
 */
export async function openModelSource(from: string, options: OpenSourceOptions = {}): Promise<ByteSource> {
  if (!isRemoteAddress(from)) return createFileSource(from);
  const network = await openNetwork(options.env);
  const { shown, key } = readAddress(from, network);
  const cache = chooseCache(options);
  const id = await cache.find(key);
  if (id !== null) return named(await createFileSource(cache.fileOf(id)), shown);
  const { signal } = options;
  if (options.store === false) {
    const { url } = await locateModel(from, network, signal);
    return createHttpSource(url, { fetch: network.fetch, ...(signal && { signal }) });
  }
  return named(await createFileSource((await pullModel(from, options)).path), shown);
}

/** Errors tell the address, which can be pulled again, and not the place in the cache. */
function named(source: ByteSource, name: string): ByteSource {
  return {
    name,
    size: source.size,
    read: (offset, length) => source.read(offset, length),
    readInto: (offset, target) => source.readInto!(offset, target),
    openBeside: (beside) => source.openBeside!(beside),
    close: () => source.close(),
  };
}
