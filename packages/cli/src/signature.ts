// Signatures of containers: a JWS (RFC 7515, flattened JSON) with Ed25519 (RFC 8037, RFC 9864) over a small statement that
// names the header hash, kept in a file of its own. docs/format.md, "Content digest and signature", has the exact form.
import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { DuobitError, type Manifest } from '@duobit/format';
import type { ProtectedHeaderParameters } from 'jose';

/** Only when it is needed: most commands sign nothing, and it is read for a while. */
const loadJose = () => import('jose');

/** RFC 9864 names the curve; the older `EdDSA` of RFC 8037 means the same with a key of this kind. */
const ALGORITHM = 'Ed25519';
const ACCEPTED = [ALGORITHM, 'EdDSA'];
/** Keeps a signature made for something else from counting as one of a model, RFC 8725, section 3.11. */
const TYPE = 'duobit-signature';
const STATEMENT_TYPE = 'duobit-model';

/** What is signed. */
export interface Statement {
  readonly fileLength: number;
  /** `major.minor` of the container format. */
  readonly formatVersion: string;
  readonly headerSha256: string;
}

export function stateModel({ fileLength, formatVersion, headerSha256 }: Manifest): Statement {
  return { fileLength, formatVersion: `${formatVersion.major}.${formatVersion.minor}`, headerSha256 };
}

/** The statement's canonical bytes: RFC 8785. */
function encodeStatement({ fileLength, formatVersion, headerSha256 }: Statement): Uint8Array<ArrayBuffer> {
  const members = { file_length: fileLength, format_version: formatVersion, header_sha256: headerSha256 };
  return new TextEncoder().encode(JSON.stringify({ ...members, type: STATEMENT_TYPE }));
}

/** @throws DuobitError `SIGNATURE_KEY` unless it is an unencrypted Ed25519 private key as PKCS#8 PEM */
export function parsePrivateKey(pem: string, source: string): KeyObject {
  if (!pem.includes('PRIVATE KEY')) {
    throw refuseKey(source, 'this is not a private key', 'Give the private key to sign with');
  }
  return parseKey(source, () => createPrivateKey(pem));
}

/** @throws DuobitError `SIGNATURE_KEY` unless it is an Ed25519 public key as SPKI PEM */
export function parsePublicKey(pem: string, source: string): KeyObject {
  if (!pem.includes('BEGIN PUBLIC KEY')) {
    const what = pem.includes('PRIVATE KEY') ? 'this is a private key' : 'this is not a public key';
    throw refuseKey(source, what, "Give the signer's public key, which needs no secrecy");
  }
  return parseKey(source, () => createPublicKey(pem));
}

function parseKey(source: string, parse: () => KeyObject): KeyObject {
  let key: KeyObject;
  try {
    key = parse();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw refuseKey(source, `the key cannot be read: ${reason}`, 'Give an unencrypted PEM file', cause);
  }
  if (key.asymmetricKeyType !== 'ed25519') {
    const message = `the key is of type ${key.asymmetricKeyType ?? 'unknown'}, not ed25519`;
    throw refuseKey(source, message, 'Make a key with `duobit sign --generate-key`');
  }
  return key;
}

function refuseKey(source: string, message: string, remedy: string, cause?: unknown): DuobitError {
  return new DuobitError('SIGNATURE_KEY', message, { source, remedy, cause });
}

/** RFC 7638 thumbprint of the public half: SHA-256 of its canonical JWK, base64url. */
export function keyId(key: KeyObject): string {
  const { crv, kty, x } = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'jwk' });
  return createHash('sha256').update(JSON.stringify({ crv, kty, x })).digest('base64url');
}

/** The signature file's text. */
export async function signStatement(statement: Statement, key: KeyObject): Promise<string> {
  const { FlattenedSign } = await loadJose();
  const jws = await new FlattenedSign(encodeStatement(statement))
    .setProtectedHeader({ alg: ALGORITHM, kid: keyId(key), typ: TYPE })
    .sign(key);
  const { payload, protected: header, signature } = jws;
  return `${JSON.stringify({ payload, protected: header, signature }, null, 2)}\n`;
}

/**
 * What the signature file says about a model, once the key has proved right.
 * @throws DuobitError `SIGNATURE_INVALID` for a file that is no such signature, `SIGNATURE_ALGORITHM`,
 *   `SIGNATURE_OTHER_KEY`, `SIGNATURE_WRONG`
 */
export async function openSignature(text: string, key: KeyObject, source: string): Promise<Statement> {
  const jws = parseJws(text, source);
  await checkHeader(jws, key, source);
  const { errors, flattenedVerify } = await loadJose();
  let payload: Uint8Array;
  try {
    ({ payload } = await flattenedVerify(jws, key, { algorithms: ACCEPTED }));
  } catch (cause) {
    if (!(cause instanceof errors.JOSEError)) throw cause;
    const message = `the signature does not fit what it signs: ${cause.message}`;
    const remedy = 'Get signature and key again from the signer; if they stay so, trust neither';
    throw new DuobitError('SIGNATURE_WRONG', message, { source, remedy, cause });
  }
  return parseStatement(payload, source);
}

/**
 * What a signature file says and whose key it names, believed of nobody: whether it is good needs the key.
 * @throws DuobitError `SIGNATURE_INVALID`
 */
export async function readSignature(
  text: string,
  source: string,
): Promise<{ statement: Statement; keyId: string }> {
  const jws = parseJws(text, source);
  const { kid } = await readHeader(jws, source);
  return { statement: parseStatement(Buffer.from(jws.payload, 'base64url'), source), keyId: String(kid) };
}

interface Jws {
  readonly payload: string;
  readonly protected: string;
  readonly signature: string;
}

function refuseFile(source: string, message: string, cause?: unknown): DuobitError {
  const remedy = 'Give the .sig file that `duobit sign` wrote';
  return new DuobitError('SIGNATURE_INVALID', message, { source, remedy, cause });
}

/** Strict: three members and nothing beside them, so that nothing unsigned can be smuggled in. */
function parseJws(text: string, source: string): Jws {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw refuseFile(source, 'the signature file is not JSON', cause);
  }
  const members = typeof value === 'object' && value !== null ? Object.entries(value).sort() : [];
  const names = members.map(([name]) => name).join();
  const [payload, header, signature]: unknown[] = members.map(([, member]) => member);
  if (
    names !== 'payload,protected,signature' ||
    typeof payload !== 'string' ||
    typeof header !== 'string' ||
    typeof signature !== 'string'
  ) {
    throw refuseFile(
      source,
      'the file does not have the texts payload, protected and signature, and no other',
    );
  }
  return { payload, protected: header, signature };
}

async function readHeader(jws: Jws, source: string): Promise<ProtectedHeaderParameters> {
  const { decodeProtectedHeader } = await loadJose();
  try {
    return decodeProtectedHeader(jws);
  } catch (cause) {
    throw refuseFile(source, 'its protected header is not JSON', cause);
  }
}

async function checkHeader(jws: Jws, key: KeyObject, source: string): Promise<void> {
  const header = await readHeader(jws, source);
  if (typeof header.alg !== 'string' || !ACCEPTED.includes(header.alg)) {
    const message = `the algorithm is ${JSON.stringify(header.alg)?.slice(0, 40)}; only ${ACCEPTED.join(' and ')} are accepted`;
    throw new DuobitError('SIGNATURE_ALGORITHM', message, {
      source,
      remedy: 'Ask the signer for a signature made with `duobit sign`',
    });
  }
  const names = Object.keys(header).sort().join();
  if (names !== 'alg,kid,typ' || header.typ !== TYPE || typeof header.kid !== 'string') {
    throw refuseFile(source, `its protected header does not have alg, kid and typ "${TYPE}", and no other`);
  }
  const id = keyId(key);
  if (header.kid !== id) {
    const message = `it was made with the key ${header.kid.slice(0, 64)}, but the key given is ${id}`;
    throw new DuobitError('SIGNATURE_OTHER_KEY', message, {
      source,
      remedy: 'Give the public key of this signer, if you trust it; otherwise do not trust the model',
    });
  }
}

function parseStatement(payload: Uint8Array, source: string): Statement {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(payload));
  } catch (cause) {
    throw refuseFile(source, 'what is signed is not JSON', cause);
  }
  const { file_length, format_version, header_sha256 }: Record<string, unknown> = { ...Object(value) };
  if (
    typeof file_length === 'number' &&
    Number.isSafeInteger(file_length) &&
    typeof format_version === 'string' &&
    typeof header_sha256 === 'string'
  ) {
    const statement = { fileLength: file_length, formatVersion: format_version, headerSha256: header_sha256 };
    // The same bytes again, or there is more in it, or it is written in another way.
    if (Buffer.compare(encodeStatement(statement), payload) === 0) return statement;
  }
  throw refuseFile(source, 'what is signed is not a canonical statement about a model');
}

/** @throws DuobitError `SIGNATURE_MISMATCH` when the statement is about another file */
export function requireSameModel(signed: Statement, model: Statement, source: string): void {
  const differences = [
    ['header SHA-256', signed.headerSha256, model.headerSha256],
    ['length', signed.fileLength, model.fileLength],
    ['format version', signed.formatVersion, model.formatVersion],
  ].filter(([, a, b]) => a !== b);
  if (differences.length === 0) return;
  const list = differences.map(([what, a, b]) => `${what} ${a} is signed, the file has ${b}`).join('; ');
  throw new DuobitError('SIGNATURE_MISMATCH', `the signature is good, but of another file: ${list}`, {
    source,
    remedy: 'Get the model again, or the signature that belongs to it',
  });
}
