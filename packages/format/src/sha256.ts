// SHA-256 through whatever the platform has: node:crypto (about twice as fast) or WebCrypto.
import { DuobitError } from './errors.ts';

/** @returns 32 bytes. @throws DuobitError `HASH_UNAVAILABLE` outside secure contexts of browsers. */
export async function sha256(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const node = globalThis.process?.getBuiltinModule?.('node:crypto');
  if (node) return new Uint8Array(node.createHash('sha256').update(bytes).digest());
  const subtle = globalThis.crypto?.subtle;
  if (!subtle) {
    throw new DuobitError('HASH_UNAVAILABLE', 'this page has no SHA-256: crypto.subtle is missing', {
      remedy: 'Serve the page over https or from localhost',
    });
  }
  // WebCrypto refuses shared memory.
  const own =
    bytes.buffer instanceof ArrayBuffer ? (bytes as Uint8Array<ArrayBuffer>) : new Uint8Array(bytes);
  return new Uint8Array(await subtle.digest('SHA-256', own));
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));
const DIGITS = new TextEncoder().encode('0123456789abcdef');
const ASCII = new TextDecoder();

/** Two lower-case digits a byte. */
export function toHex(bytes: Uint8Array): string {
  if (bytes.length <= 64) {
    let text = '';
    for (const byte of bytes) text += HEX[byte]!;
    return text;
  }
  const digits = new Uint8Array(2 * bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    digits[2 * i] = DIGITS[bytes[i]! >> 4]!;
    digits[2 * i + 1] = DIGITS[bytes[i]! & 15]!;
  }
  return ASCII.decode(digits);
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
