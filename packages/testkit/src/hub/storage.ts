// The large files of the local hub: uploads in one or in parts, and downloads by range, at addresses that carry their permission.
import { randomUUID } from 'node:crypto';
import type { Exchange } from './listener.ts';
import { sha256Hex } from './repository.ts';

/** What a batch request is told about one object. */
export interface UploadAction {
  readonly href: string;
  readonly header?: Readonly<Record<string, string>>;
}

interface Upload {
  readonly oid: string;
  readonly parts: Map<number, Uint8Array>;
}

export class Storage {
  url = '';
  /** By SHA-256. */
  readonly objects = new Map<string, Uint8Array>();
  readonly #permission: string;
  readonly #partBytes: number | null;
  readonly #uploads = new Map<string, Upload>();

  constructor(permission: string, partBytes: number | null) {
    this.#permission = permission;
    this.#partBytes = partBytes;
  }

  downloadUrl(oid: string): string {
    return `${this.url}/download/${oid}?permission=${this.#permission}`;
  }

  /** 'multipart' is the hub's own way: addresses of all parts in the header, then one request that names their ETags. */
  startUpload(oid: string, size: number): { transfer: 'basic' | 'multipart'; upload: UploadAction } {
    const most = this.#partBytes;
    const address = (kind: string, id: string) => `${this.url}/${kind}/${id}?permission=${this.#permission}`;
    if (most === null || size <= most) return { transfer: 'basic', upload: { href: address('upload', oid) } };
    const id = randomUUID();
    this.#uploads.set(id, { oid, parts: new Map() });
    const header: Record<string, string> = { chunk_size: String(most) };
    for (let part = 1; part <= Math.ceil(size / most); part++)
      header[String(part).padStart(5, '0')] = address('part', `${id}/${part}`);
    return { transfer: 'multipart', upload: { href: address('complete', id), header } };
  }

  async answer(exchange: Exchange): Promise<void> {
    const [kind, id = '', part] = exchange.path.split('/');
    if (exchange.url.searchParams.get('permission') !== this.#permission) {
      exchange.fail(403, 'the address is not signed');
    } else if (kind === 'download') {
      const bytes = this.objects.get(id);
      if (bytes) await exchange.send(bytes, { ETag: `"${id}"`, 'Content-Type': 'application/octet-stream' });
      else exchange.fail(404, 'no such object');
    } else {
      const body = await exchange.body();
      if (body === null) return;
      if (kind === 'upload') this.#finish(exchange, id, body);
      else if (kind === 'part') this.#takePart(exchange, id, Number(part), body);
      else if (kind === 'complete') this.#complete(exchange, id, body);
      else exchange.fail(404, 'no such address');
    }
  }

  #takePart(exchange: Exchange, id: string, part: number, body: Uint8Array): void {
    const upload = this.#uploads.get(id);
    upload?.parts.set(part, body);
    exchange.response.writeHead(upload ? 200 : 404, { ETag: `"${sha256Hex(body)}"` }).end();
  }

  #complete(exchange: Exchange, id: string, body: Uint8Array): void {
    const upload = this.#uploads.get(id);
    const { oid, parts } = JSON.parse(new TextDecoder().decode(body)) as {
      oid: string;
      parts: { partNumber: number; etag: string }[];
    };
    const pieces = parts.map(({ partNumber, etag }) => {
      const piece = upload?.parts.get(partNumber);
      return piece && etag === `"${sha256Hex(piece)}"` ? piece : null;
    });
    if (upload?.oid !== oid || pieces.includes(null)) exchange.fail(400, 'a part is missing');
    else this.#finish(exchange, oid, Buffer.concat(pieces.map((piece) => piece!)));
  }

  #finish(exchange: Exchange, oid: string, bytes: Uint8Array): void {
    const isRight = sha256Hex(bytes) === oid;
    if (isRight) this.objects.set(oid, bytes);
    if (isRight) exchange.json({});
    else exchange.fail(400, 'the bytes do not have this hash');
  }
}
