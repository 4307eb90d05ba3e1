// SHA-256 through whatever the platform has: node:crypto (about twice as fast) or WebCrypto.
import { DuobitError } from './errors.ts';

/** @returns 32 bytes. @throws DuobitError `HASH_UNAVAILABLE` outside secure contexts of browsers. */
export async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const node = globalThis.process?.getBuiltinModule?.('node:crypto');
  if (node) return new Uint8Array(node.createHash('sha256').update(bytes).digest());
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) {
    throw new DuobitError('HASH_UNAVAILABLE', 'this page has no SHA-256: crypto.subtle is missing', {
      remedy: 'Serve the page over https or from localhost',
    });
  }
  return new Uint8Array(await subtle.digest('SHA-256', bytes));
}

/**
 * As `sha256`, in another thread where the platform has one for it. The bytes are copied before this returns, so that
 * their memory may be used again.
 * @throws DuobitError as `sha256`
 */
export async function sha256Aside(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const subtle = globalThis.crypto?.subtle;
  return subtle ? new Uint8Array(await subtle.digest('SHA-256', bytes)) : sha256(bytes);
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

/** Two lower-case digits a byte. */
export function toHex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += HEX[byte]!;
  return text;
}

/** @throws DuobitError `HEX_INVALID` on anything but pairs of hexadecimal digits. */
export function fromHex(text: string): Uint8Array<ArrayBuffer> {
  if (!/^([0-9a-fA-F]{2})*$/.test(text)) {
    throw new DuobitError('HEX_INVALID', `"${text.slice(0, 80)}" is not hexadecimal`, {
      remedy: 'Give an even number of digits 0-9 and a-f',
    });
  }
  return Uint8Array.from({ length: text.length / 2 }, (_, i) =>
    Number.parseInt(text.slice(2 * i, 2 * i + 2), 16),
  );
}
