// A model that is to be published: its files as they will lie on the server, validated, cut and hashed.
import { rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import {
  type Container,
  contentDigest,
  DuobitError,
  isRemoteAddress,
  type Manifest,
  openContainer,
} from '@duobit/format';
import { createFileSink, createFileSource, makeFolder } from '@duobit/format/node';
import { pullModel } from '@duobit/runtime-node';
import type { Context } from '../context.ts';
import { hashSource } from '../file-hash.ts';
import { readText } from '../files.ts';
import { modelFileName, withDownload } from '../models.ts';
import { cutContainer } from '../parts.ts';
import { createProgress } from '../progress.ts';
import { checkAborted } from '../session.ts';
import { readSignature } from '../signature.ts';
import { requireGood, validateSource } from '../validation.ts';

/** A file of what is published, under its name there. */
export interface PublishedFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly content: { readonly path: string } | { readonly text: string };
}

export interface PublishedModel {
  /** Of the container's file. */
  readonly name: string;
  /** Of the container that was given. */
  readonly manifest: Manifest;
  /** Of the container that is published: another one when it was cut. */
  readonly headerSha256: string;
  readonly contentSha256: string;
  /** The licence's text, where the container carries one. */
  readonly license: string | null;
  /** The container's file, then data files, then the signature. */
  readonly files: readonly PublishedFile[];
  /** Of the key that signed, where a signature lies beside the container. */
  readonly keyId: string | null;
}

export interface PrepareOptions {
  readonly shardSize?: number | undefined;
  /** Where data files are made, in a folder of their own; only with `shardSize`. */
  readonly work: string;
}

/** The container on this machine's disk; what has an address is brought up to date first. */
export async function localPath(context: Context, model: string): Promise<string> {
  if (!isRemoteAddress(model)) return model;
  return (await withDownload(context, (options) => pullModel(model, options))).path;
}

/**
 * Validates a container wholly, cuts it when it shall be, hashes its files, and has `work` do something with them. Data files that
 * were made for it are gone afterwards.
 * @throws DuobitError the first problem of an invalid container, `SIGNATURE_MISMATCH`, `SIGNATURE_INVALID`, as `splitContainer`
 */
export async function withPublishedModel<T>(
  context: Context,
  model: string,
  path: string,
  options: PrepareOptions,
  work: (model: PublishedModel) => Promise<T>,
): Promise<T> {
  // Hubs are searched for files of this ending, and hosts have headers for them.
  const name = modelFileName(model).replace(/(?<!\.duo)$/, '.duo');
  // A folder of this name is nobody else's, so what is in the way there was left by a run that was killed.
  const cutFolder = join(options.work, `${name}.publish`);
  const made: string[] = [];
  const source = await createFileSource(path);
  try {
    requireGood(
      await validateSource(context, source, 'validate'),
      model,
      'an invalid container is not published',
    );
    const container = await openContainer(source);
    const file =
      options.shardSize === undefined
        ? path
        : await cut(context, path, name, cutFolder, options.shardSize, made);
    const published = await describe(context, container, model, name, file);
    return await work(published);
  } finally {
    await source.close();
    for (const file of made) await rm(file, { force: true });
    if (made.length > 0) await rmdir(cutFolder).catch(() => {});
  }
}

/** @returns the header file, in the folder. `made` is told of every file. */
async function cut(
  context: Context,
  path: string,
  name: string,
  folder: string,
  shardSize: number,
  made: string[],
): Promise<string> {
  await makeFolder(folder);
  const source = await createFileSource(path);
  try {
    const openSink = (dataFile: string | null) => {
      const file = join(folder, dataFile ?? name);
      made.push(file);
      return createFileSink(file);
    };
    await cutContainer(context, source, openSink, name, shardSize);
  } finally {
    await source.close();
  }
  return join(folder, name);
}

async function describe(
  context: Context,
  container: Container,
  model: string,
  name: string,
  path: string,
): Promise<PublishedModel> {
  const progress = createProgress(context.io, { lines: { hash: 0 } });
  const onProgress = (done: number, total: number): void => {
    checkAborted(context.signal);
    progress.update('hash', done, total);
  };
  try {
    const content = await contentDigest(container, { signal: context.signal, onProgress });
    const license = await container.readAsset('license');
    const opened = await openContainer(await createFileSource(path));
    const { headerSha256, dataFiles } = opened.manifest;
    await opened.close();
    const files = [await hashPath(path, name, onProgress)];
    for (const data of dataFiles)
      files.push({
        name: data.name,
        bytes: data.length,
        sha256: data.sha256,
        content: { path: join(dirname(path), data.name) },
      });
    const signature = isRemoteAddress(model) ? null : await findSignature(`${model}.sig`, name, headerSha256);
    return {
      name,
      manifest: container.manifest,
      headerSha256,
      contentSha256: content.sha256,
      license: license && new TextDecoder().decode(license),
      files: signature ? [...files, signature.file] : files,
      keyId: signature?.keyId ?? null,
    };
  } finally {
    progress.stop();
  }
}

async function hashPath(
  path: string,
  name: string,
  onProgress?: (done: number, total: number) => void,
): Promise<PublishedFile> {
  const source = await createFileSource(path);
  try {
    return { name, bytes: source.size, sha256: await hashSource(source, onProgress), content: { path } };
  } finally {
    await source.close();
  }
}

/** A signature of another header would be worse than none. */
async function findSignature(
  path: string,
  name: string,
  headerSha256: string,
): Promise<{ file: PublishedFile; keyId: string } | null> {
  if (!(await stat(path).catch(() => null))) return null;
  const { statement, keyId } = await readSignature(await readText(path, 'signature'), path);
  if (statement.headerSha256 !== headerSha256) {
    const message = `the signature is of the header ${statement.headerSha256}, but ${headerSha256} is published`;
    throw new DuobitError('SIGNATURE_MISMATCH', message, {
      source: basename(path),
      remedy:
        'Sign the file again with `duobit sign`; to publish data files, make them with `duobit split` and sign the header file',
    });
  }
  return { file: await hashPath(path, `${name}.sig`), keyId };
}
