// `duobit verify-signature`: whether a container is, to the last byte, what the owner of a key signed.
import { DuobitError, openContainer, type ValidationReport, validateContainer } from '@duobit/format';
import type { Command } from 'commander';
import { type Context, emit } from '../context.ts';
import { readText } from '../files.ts';
import { openModelFile } from '../models.ts';
import { addExamples, addJsonOption } from '../options.ts';
import { createProgress } from '../progress.ts';
import { checkAborted } from '../session.ts';
import { keyId, openSignature, parsePublicKey, requireSameModel, stateModel } from '../signature.ts';
import { formatPairs } from '../text.ts';

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
      const report = await validate(context, source);
      if (report.manifest?.headerSha256 !== signed.headerSha256) {
        throw new DuobitError('SIGNATURE_MISMATCH', 'the file changed while it was read', {
          source: path,
          remedy: 'Try again when nobody writes to it',
        });
      }
      requireGoodData(report, path);
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

async function validate(
  context: Context,
  source: Parameters<typeof validateContainer>[0],
): Promise<ValidationReport> {
  const progress = createProgress(context.io, { lines: { verify: 0 } });
  try {
    const report = await validateContainer(source, {
      onProgress: (done, total) => {
        checkAborted(context.signal);
        progress.update('verify', done, total);
      },
    });
    // The validator turns what `onProgress` throws into a problem of the file; a stop is none.
    checkAborted(context.signal);
    return report;
  } finally {
    progress.stop();
  }
}

/** @throws DuobitError with the code of the first problem */
function requireGoodData({ problems, dropped }: ValidationReport, path: string): void {
  const [first] = problems;
  if (!first) return;
  const more = problems.length - 1 + dropped;
  const rest = more > 0 ? `; ${more} more problems` : '';
  throw new DuobitError(
    first.code,
    `the header is signed, but the data is not what it says: ${first.message}${rest}`,
    {
      source: path,
      where: first.where,
      remedy: first.remedy,
    },
  );
}
