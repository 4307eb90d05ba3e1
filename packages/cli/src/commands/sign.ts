// `duobit sign`: a detached signature of a container, and the keys to make one.
import { generateKeyPairSync } from 'node:crypto';
import { open, rm, stat } from 'node:fs/promises';
import { DuobitError, isRemoteAddress } from '@duobit/format';
import { type Command, CommanderError } from 'commander';
import { withContainer } from '../containers.ts';
import { type Context, emit } from '../context.ts';
import { readText, writeText } from '../files.ts';
import { modelFileName } from '../models.ts';
import { addExamples, addJsonOption } from '../options.ts';
import { keyId, parsePrivateKey, readSignature, signStatement, stateModel } from '../signature.ts';
import { formatPairs } from '../text.ts';

/** Ours have some 500. */
const MOST_SIGNATURE_BYTES = 2 ** 16;

interface Options {
  readonly key?: string;
  readonly output?: string;
  readonly generateKey?: string;
  readonly json: boolean;
}

export function addSignCommand(program: Command, context: Context): void {
  const command = program
    .command('sign')
    .description('Sign a container: a small file beside it proves who vouches for it. Makes keys, too.')
    .argument('[file]', '.duo file')
    .option('--key <file>', 'private key: Ed25519, PKCS#8 PEM, not encrypted')
    .option('-o, --output <file>', 'where the signature goes; default: the name of the .duo file and .sig')
    .option(
      '--generate-key <prefix>',
      'make a key pair instead: <prefix>.pem (keep it secret), <prefix>.pub.pem',
    )
    .action((path: string | undefined, options: Options) => runSign(context, path, options));
  addJsonOption(command);
  addExamples(command, 'duobit sign --generate-key me', 'duobit sign tiny.duo --key me.pem');
}

async function runSign(context: Context, path: string | undefined, options: Options): Promise<void> {
  if (options.generateKey !== undefined) {
    if (path !== undefined || options.key !== undefined || options.output !== undefined) {
      throw usage('--generate-key makes a key and nothing else: it takes no file, --key or --output');
    }
    return generateKey(context, options.generateKey, options.json);
  }
  if (path === undefined) throw usage("missing required argument 'file'");
  if (options.key === undefined) throw usage("required option '--key <file>' not specified");

  const key = parsePrivateKey(await readText(options.key, '--key'), options.key);
  await withContainer(context, path, { store: false }, async ({ manifest }) => {
    const output = options.output ?? `${isRemoteAddress(path) ? modelFileName(path) : path}.sig`;
    await requireNoOther(output);
    await writeText(output, await signStatement(stateModel(manifest), key));
    const result = {
      file: path,
      header_sha256: manifest.headerSha256,
      signature: output,
      key_id: keyId(key),
    };
    emit(context, options.json, { ...result, key_file: null, public_key_file: null }, () =>
      formatPairs([
        ['signature', output],
        ['header SHA-256', result.header_sha256],
        ['key', result.key_id],
      ]),
    );
  });
}

function usage(message: string): CommanderError {
  return new CommanderError(2, 'duobit.sign', `error: ${message}`);
}

/** @throws DuobitError `OUTPUT_EXISTS` for a file that is no older signature: it may be the model, or the key */
async function requireNoOther(path: string): Promise<void> {
  const facts = await stat(path).catch(() => null);
  if (!facts?.isFile() || facts.size === 0) return;
  try {
    if (facts.size <= MOST_SIGNATURE_BYTES) {
      await readSignature(await readText(path, '--output'), path);
      return;
    }
  } catch {
    // It is something else.
  }
  throw new DuobitError('OUTPUT_EXISTS', 'a file of this name exists, and is no signature', {
    source: path,
    remedy: 'Choose another name, or move the file away',
  });
}

async function generateKey(context: Context, prefix: string, json: boolean): Promise<void> {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const secret = `${prefix}.pem`;
  const shared = `${prefix}.pub.pem`;
  await writeNew(secret, privateKey.export({ type: 'pkcs8', format: 'pem' }), 0o600);
  try {
    await writeNew(shared, publicKey.export({ type: 'spki', format: 'pem' }), 0o644);
  } catch (error) {
    await rm(secret, { force: true });
    throw error;
  }
  const result = { file: null, header_sha256: null, signature: null, key_id: keyId(publicKey) };
  emit(context, json, { ...result, key_file: secret, public_key_file: shared }, () =>
    formatPairs([
      ['private key, keep it secret', secret],
      ['public key', shared],
      ['key', result.key_id],
    ]),
  );
}

/** A lost private key cannot be had again, so nothing is ever replaced; and half a key would be in the way of the next try. */
async function writeNew(path: string, text: string | Buffer, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode).catch((cause: unknown) => {
    if (!(cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')) throw cause;
    throw new DuobitError('SIGNATURE_KEY_EXISTS', 'the file exists already, and keys are never replaced', {
      source: path,
      remedy: 'Choose another prefix, or move the file away',
      cause,
    });
  });
  try {
    await file.writeFile(text);
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}
