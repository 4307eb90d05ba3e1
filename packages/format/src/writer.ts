// Writes a container tensor by tensor, in bounded memory: one tensor of the caller's and one chunk here.
import { encodedPlaneLengths } from './encodings.ts';
import { DuobitError } from './errors.ts';
import { LIMITS } from './generated/limits.ts';
import { encodeHeader } from './header-encode.ts';
import { type ContainerSpec, type Layout, planLayout } from './layout.ts';
import type { PlaneRole, TensorData, TensorInfo } from './manifest.ts';
import { checkPlaneRelations } from './plane-relations.ts';
import { checkPlaneValues } from './plane-values.ts';
import { HASH_OFFSET } from './preamble.ts';
import { assetRoleToId } from './registry.ts';
import { sha256, toHex } from './sha256.ts';
import type { ByteSink } from './sink.ts';

/** What was written. */
export interface ContainerSummary {
  readonly fileLength: number;
  readonly headerLength: number;
  /** The model's identity, hex. */
  readonly headerSha256: string;
}

/** Writes a container, tensor by tensor. */
export interface ContainerWriter {
  /** Names in the order in which `writeTensor` must be called: the order of first use. */
  readonly order: readonly string[];
  readonly fileLength: number;
  readonly headerLength: number;
  /**
   * Writes the next tensor. On any failure the sink is aborted.
   * @throws DuobitError `WRITER_STATE`, `WRITER_ORDER`, `PLANE_ROLES`, `PLANE_LENGTH`, `VALUE_NOT_FINITE`,
   *   `CODE_RANGE`, `PADDING_NONZERO`, or what the sink throws
   */
  writeTensor(name: string, planes: TensorData['planes']): Promise<void>;
  /** Writes the header and publishes the file. @throws DuobitError `WRITER_STATE`, `WRITER_INCOMPLETE` */
  finish(): Promise<ContainerSummary>;
  /** Gives up; an older file of that name stays. */
  abort(): Promise<void>;
}

/**
 * Begins a container: checks the whole specification, then writes the assets. On failure the sink is aborted.
 * The same specification and tensors give the same bytes.
 * @throws DuobitError whatever is wrong with the specification, or what the sink throws
 */
export async function createContainerWriter(spec: ContainerSpec, sink: ByteSink): Promise<ContainerWriter> {
  try {
    const writer = new StreamingWriter(planLayout(spec, sink.name), sink);
    const assets = [...spec.assets].sort((a, b) => assetRoleToId(a.role) - assetRoleToId(b.role));
    for (const [i, { bytes }] of assets.entries()) await writer.writeAsset(i, bytes);
    return writer;
  } catch (error) {
    await sink.abort();
    throw error;
  }
}

class StreamingWriter implements ContainerWriter {
  readonly order: readonly string[];
  readonly fileLength: number;
  readonly headerLength: number;
  readonly #layout: Layout;
  readonly #tensors: ReadonlyMap<string, TensorInfo>;
  readonly #sink: ByteSink;
  readonly #chunk = new Uint8Array(LIMITS.chunkBytes);
  #segment = 0;
  /** Bytes of the current segment so far, those in the chunk included. */
  #position = 0;
  #next = 0;
  #state: 'open' | 'busy' | 'closed' = 'open';

  constructor(layout: Layout, sink: ByteSink) {
    this.#layout = layout;
    this.#sink = sink;
    this.#tensors = new Map(layout.content.tensors.map((tensor) => [tensor.name, tensor]));
    this.order = layout.order;
    this.fileLength = layout.fileLength;
    this.headerLength = layout.headerLength;
  }

  async writeAsset(index: number, bytes: Uint8Array): Promise<void> {
    const { segment, offset } = this.#layout.content.assets[index]!;
    await this.#append(segment, offset, bytes);
  }

  writeTensor(name: string, planes: TensorData['planes']): Promise<void> {
    return this.#exclusively(async () => {
      const expected = this.order[this.#next];
      if (name !== expected) {
        throw new DuobitError(
          'WRITER_ORDER',
          `tensor ${name} was written where ${expected ?? 'nothing'} is due`,
          {
            source: this.#sink.name,
            where: `tensor ${name}`,
            remedy: 'Write tensors in the order of `writer.order`',
          },
        );
      }
      const tensor = this.#tensors.get(name)!;
      await this.#checkPlanes(tensor, planes);
      for (const { role, segment, offset } of tensor.planes) {
        await this.#append(segment, offset, planes[role as PlaneRole]!);
      }
      this.#next += 1;
    });
  }

  finish(): Promise<ContainerSummary> {
    return this.#exclusively(async () => {
      if (this.#next < this.order.length) {
        const missing = this.order.length - this.#next;
        throw new DuobitError(
          'WRITER_INCOMPLETE',
          `${missing} tensors are missing, the next is ${this.order[this.#next]}`,
          {
            source: this.#sink.name,
            remedy: 'Write every tensor of `writer.order` before finish',
          },
        );
      }
      await this.#endSegment();
      const { content, segmentBase, fileLength, headerLength } = this.#layout;
      const header = encodeHeader(content, segmentBase, fileLength);
      const hash = await sha256(header);
      header.set(hash, HASH_OFFSET);
      await this.#sink.write(0, header);
      await this.#sink.write(headerLength, new Uint8Array(segmentBase - headerLength));
      await this.#sink.finish();
      this.#state = 'closed';
      return { fileLength, headerLength, headerSha256: toHex(hash) };
    });
  }

  async abort(): Promise<void> {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    await this.#sink.abort();
  }

  async #exclusively<T>(action: () => Promise<T>): Promise<T> {
    if (this.#state !== 'open') {
      const message =
        this.#state === 'busy' ? 'another call is not done yet' : 'the writer is finished or aborted';
      throw new DuobitError('WRITER_STATE', message, {
        source: this.#sink.name,
        remedy: 'Await each call, and stop after the first failure',
      });
    }
    this.#state = 'busy';
    try {
      const result = await action();
      if (this.#state === 'busy') this.#state = 'open';
      return result;
    } catch (error) {
      await this.abort();
      throw error;
    }
  }

  async #checkPlanes(tensor: TensorInfo, planes: TensorData['planes']): Promise<void> {
    const expected = Object.entries(encodedPlaneLengths(tensor.encoding, tensor.shape));
    const given = Object.keys(planes).filter((role) => planes[role as PlaneRole] !== undefined);
    const fail: (code: string, role: string, message: string) => never = (code, role, message) => {
      throw new DuobitError(code, message, {
        source: this.#sink.name,
        where: `tensor ${tensor.name}, plane ${role}`,
        remedy: 'Pack the tensor with the packing functions of @duobit/format',
      });
    };
    for (const role of given) {
      if (!expected.some(([known]) => known === role)) {
        fail('PLANE_ROLES', role, `a ${tensor.encoding.kind} tensor has no such plane`);
      }
    }
    for (const [role, length] of expected) {
      const plane = planes[role as PlaneRole];
      if (!plane) fail('PLANE_ROLES', role, `the ${tensor.encoding.kind} tensor lacks this plane`);
      if (plane.length !== length) {
        fail('PLANE_LENGTH', role, `the plane has ${plane.length} bytes, but needs ${length}`);
      }
      const problem = checkPlaneValues(tensor, role, plane, 0);
      if (problem) fail(problem.code, role, problem.message);
    }
    const relation = await checkPlaneRelations(tensor, async (role, offset, length) =>
      planes[role]!.slice(offset, offset + length),
    );
    if (relation) fail(relation.code, relation.role, relation.message);
  }

  /** Appends bytes at an offset of a segment, which is at or after all bytes so far; the gap is zeros. */
  async #append(segment: number, offset: number, bytes: Uint8Array): Promise<void> {
    while (this.#segment < segment) await this.#endSegment();
    if (offset > this.#position) await this.#push(new Uint8Array(offset - this.#position));
    await this.#push(bytes);
  }

  async #push(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const filled = this.#position % LIMITS.chunkBytes;
      const piece = bytes.subarray(done, done + LIMITS.chunkBytes - filled);
      this.#chunk.set(piece, filled);
      this.#position += piece.length;
      done += piece.length;
      if (filled + piece.length === LIMITS.chunkBytes) await this.#flush(LIMITS.chunkBytes);
    }
  }

  /** Hashes and writes the first `length` bytes of the chunk, which end at the current position. */
  async #flush(length: number): Promise<void> {
    const bytes = this.#chunk.subarray(0, length);
    const segment = this.#layout.content.segments[this.#segment]!;
    const start = this.#position - length;
    segment.chunkHashes.set(await sha256(bytes), (start / LIMITS.chunkBytes) * 32);
    await this.#sink.write(this.#layout.segmentBase + segment.offset + start, bytes);
  }

  /** Writes what is left of the segment, and the padding up to the next one. */
  async #endSegment(): Promise<void> {
    const rest = this.#position % LIMITS.chunkBytes;
    if (rest > 0) await this.#flush(rest);
    const segment = this.#layout.content.segments[this.#segment]!;
    const next = this.#layout.content.segments[this.#segment + 1];
    const end = segment.offset + segment.length;
    if (next && next.offset > end) {
      await this.#sink.write(this.#layout.segmentBase + end, new Uint8Array(next.offset - end));
    }
    this.#segment += 1;
    this.#position = 0;
  }
}
