// `duobit verify-signature`: whether a container is, to the last byte, what the owner of a key signed.
import { DuobitError, openContainer } from '@duobit/format';
import type { Command } from 'commander';
import { type Context, emit } from '../context.ts';
import { readText } from '../files.ts';
import { openModelFile } from '../models.ts';
import { addExamples, addJsonOption } from '../options.ts';
import { keyId, openSignature, parsePublicKey, requireSameModel, stateModel } from '../signature.ts';
import { formatPairs } from '../text.ts';
import { requireGood, validateSource } from '../validation.ts';

interface Options {
  readonly key: string;
  readonly signature?: string;
  readonly headerOnly: boolean;
  readonly json: boolean;
}

export function addVerifySignatureCommand(program: Command, context: Context): void {
  const command = program
    .command('verify-signature')
    .description("Check a container against its signature and a signer's public key, data included.")
    .argument('<file>', '.duo file')
    .requiredOption('--key <file>', "the signer's public key: Ed25519, SPKI PEM")
    .option('--signature <file>', 'signature; default: the name of the .duo file and .sig')
    .option(
      '--header-only',
      'do not read the data; its hashes are in the header, and are checked when it is read',
      false,
    )
    .action((path: string, options: Options) => runVerify(context, path, options));
  addJsonOption(command);
  addExamples(command, 'duobit verify-signature tiny.duo --key me.pub.pem');
}

async function runVerify(context: Context, path: string, options: Options): Promise<void> {
  const key = parsePublicKey(await readText(options.key, '--key'), options.key);
  const signaturePath = options.signature ?? `${path}.sig`;
  const signed = await openSignature(await readText(signaturePath, '--signature'), key, signaturePath);
  const source = await openModelFile(context, path, { store: !options.headerOnly });
  try {
    const { manifest } = await openContainer(source);
    requireSameModel(signed, stateModel(manifest), path);
    if (!options.headerOnly) {
      const report = await validateSource(context, source, 'verify');
      if (report.manifest?.headerSha256 !== signed.headerSha256) {
        throw new DuobitError('SIGNATURE_MISMATCH', 'the file changed while it was read', {
          source: path,
          remedy: 'Try again when nobody writes to it',
        });
      }
      requireGood(report, path, 'the header is signed, but the data is not what it says');
    }
    const result = {
      ok: true,
      file: path,
      signature: signaturePath,
      header_sha256: signed.headerSha256,
      key_id: keyId(key),
      data_checked: !options.headerOnly,
    };
    emit(context, options.json, result, () =>
      formatPairs([
        ['ok', options.headerOnly ? `${path}, header only` : `${path}, header and all data`],
        ['header SHA-256', result.header_sha256],
        ['key', result.key_id],
      ]),
    );
  } finally {
    await source.close();
  }
}
