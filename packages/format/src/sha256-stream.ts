// SHA-256 over bytes that come in pieces.
import { sha256 } from './sha256.ts';

export interface Sha256Stream {
  /** Does not keep `bytes` after it returns. */
  update(bytes: Uint8Array): void;
  /** 32 bytes; ends the stream. @throws DuobitError `HASH_UNAVAILABLE` outside secure contexts of browsers */
  digest(): Promise<Uint8Array<ArrayBuffer>>;
}

/** Whether `createSha256` works in constant memory here. */
export function canStreamSha256(): boolean {
  return globalThis.process?.getBuiltinModule?.('node:crypto') !== undefined;
}

/** In constant memory with node:crypto. WebCrypto has no such thing, so in browsers all pieces are kept until the end. */
export function createSha256(): Sha256Stream {
  const node = globalThis.process?.getBuiltinModule?.('node:crypto');
  if (node) {
    const hash = node.createHash('sha256');
    return {
      update: (bytes) => void hash.update(bytes),
      digest: async () => new Uint8Array(hash.digest()),
    };
  }
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  return {
    update: (bytes) => void pieces.push(new Uint8Array(bytes)),
    digest: async () => sha256(new Uint8Array(await new Blob(pieces).arrayBuffer())),
  };
}
