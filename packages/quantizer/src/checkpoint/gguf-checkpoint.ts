// A GGUF file as a checkpoint: Hugging Face names and row order, block formats decoded, tokenizer rebuilt.
import path from 'node:path';
import { type AssetRole, type ByteSource, DuobitError, type SpecialTokens } from '@duobit/format';
import { createFileSource } from '@duobit/format/node';
import { type FoundTensor, matchTensors } from './architecture.ts';
import type { Checkpoint } from './checkpoint.ts';
import { ROPE_FACTORS, readGgufArchitecture, toHuggingFaceName } from './gguf-architecture.ts';
import { DEQUANTIZE } from './gguf-dequantize.ts';
import { type GgufHeader, type GgufTensor, readGgufHeader } from './gguf-header.ts';
import { buildTokenizerFiles } from './gguf-tokenizer.ts';
import { readGgufVocabulary } from './gguf-vocabulary.ts';
import { StoredCheckpoint } from './stored-checkpoint.ts';
import type { StoredTensor } from './stored-tensor.ts';
import type { DenseKind } from './values.ts';

const DENSE_KINDS: Readonly<Record<string, DenseKind>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };
const NO_SPECIAL_TOKENS: SpecialTokens = { bos: null, eos: [], pad: null, addBos: false };

interface HeldTensor extends FoundTensor {
  readonly tensor: GgufTensor;
}

/** @throws DuobitError as `openCheckpoint` does. */
export async function openGguf(file: string): Promise<Checkpoint> {
  const source = await createFileSource(file);
  try {
    return await readGguf(source, file);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** The checkpoint over an open source, which is closed with it. */
export async function readGguf(source: ByteSource, file: string): Promise<Checkpoint> {
  const header = await readGgufHeader(source);
  refuseSplit(header, source);
  const { metadata, tensors } = header;
  const embedding = tensors.get('token_embd.weight');
  const architecture = readGgufArchitecture(metadata, source.name, {
    // Without an embedding the search for tensors below says that it is missing.
    vocabularySize: embedding?.shape[0] ?? 1,
    tiedHead: !tensors.has('output.weight'),
    ropeFactors: await readRopeFactors(source, tensors.get(ROPE_FACTORS)),
  });
  const found = new Map<string, HeldTensor>();
  for (const [name, tensor] of tensors) {
    if (name !== ROPE_FACTORS) {
      found.set(toHuggingFaceName(name), {
        fileName: name,
        source: source.name,
        shape: tensor.shape,
        tensor,
      });
    }
  }
  const matched = matchTensors(architecture, found, source.name);
  const vocabulary = readGgufVocabulary(metadata, source.name);
  if (vocabulary !== null && vocabulary.tokens.length > architecture.vocabularySize) {
    throw new DuobitError(
      'GGUF_TOKENIZER_INVALID',
      `the tokenizer has ${vocabulary.tokens.length} tokens, the embedding ${architecture.vocabularySize} rows`,
      { source: source.name, where: 'tokenizer.ggml.tokens', remedy: 'Get or convert the file again' },
    );
  }
  const files = vocabulary === null ? null : buildTokenizerFiles(vocabulary);
  const template = metadata.get('tokenizer.chat_template');
  const assets: Partial<Record<AssetRole, string | undefined>> = {
    tokenizer: files?.tokenizer,
    'tokenizer-config': files?.tokenizerConfig,
    'chat-template': typeof template === 'string' ? template : undefined,
  };
  return new StoredCheckpoint({
    kind: 'gguf',
    path: file,
    name: path.basename(file),
    architecture,
    specialTokens: vocabulary?.special ?? NO_SPECIAL_TOKENS,
    tensors: matched.map(([name, { tensor }]) => toStoredTensor(name, tensor, source, architecture.headSize)),
    readAsset: async (role) => {
      const text = assets[role];
      return text === undefined ? null : new TextEncoder().encode(text);
    },
    sources: [source],
  });
}

function refuseSplit({ metadata }: GgufHeader, source: ByteSource): void {
  const parts = metadata.get('split.count');
  if (typeof parts === 'number' && parts > 1) {
    throw new DuobitError('GGUF_SPLIT', `the file is one of ${parts} parts`, {
      source: source.name,
      where: 'split.count',
      remedy: 'Merge the parts with llama-gguf-split --merge',
    });
  }
}

async function readRopeFactors(
  source: ByteSource,
  tensor: GgufTensor | undefined,
): Promise<Float32Array | null> {
  if (tensor === undefined) return null;
  if (tensor.type.name !== 'F32' || tensor.shape.length !== 1) {
    throw new DuobitError('CHECKPOINT_TENSOR_TYPE', 'RoPE factors must be one row of F32', {
      source: source.name,
      where: ROPE_FACTORS,
      remedy: 'Get or convert the file again',
    });
  }
  return new Float32Array((await source.read(tensor.offset, tensor.length)).buffer);
}

/**
 * llama.cpp's converter interleaves the two halves of every query and key head, so that its rotary kernel finds the
 * entries of a pair beside each other. The rows as such are whole, whatever their block format.
 */
const INTERLEAVED = /\.self_attn\.[qk]_proj\.weight$/;

function toStoredTensor(
  name: string,
  tensor: GgufTensor,
  source: ByteSource,
  headSize: number,
): StoredTensor {
  const { shape, type, offset, length } = tensor;
  const rows = shape.length === 1 ? 1 : shape[0]!;
  return {
    name,
    shape,
    encoding: DENSE_KINDS[type.name] ?? 'f32',
    dequantize: DEQUANTIZE[type.name],
    source,
    offset,
    rows,
    columns: shape.at(-1)!,
    rowBytes: length / rows,
    interleavedHeadSize: INTERLEAVED.test(name) ? headSize : null,
  };
}
