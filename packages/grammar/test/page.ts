// A page that writes JSON with grammars, bundled as a page of a user is.
import { createGrammars } from '@duobit/grammar';

async function write(): Promise<string> {
  const grammars = createGrammars();
  const schema = { type: 'object', properties: { a: { enum: ['x'] } }, required: ['a'] };
  const constraint = await grammars.createConstraint(
    { kind: 'json-schema', schema },
    { size: 257, eos: [256], bytesOf: (token) => (token < 256 ? Uint8Array.of(token) : null) },
  );
  const written: number[] = [];
  for (let mask = await constraint.allowed(); mask !== null; mask = await constraint.allowed()) {
    const token = Array.from({ length: 256 }, (_, one) => one).find(
      (one) => (mask![one >> 5]! >> (one & 31)) & 1,
    )!;
    constraint.accept(token);
    written.push(token);
  }
  constraint.dispose();
  return new TextDecoder().decode(Uint8Array.from(written));
}

Object.assign(globalThis, { write });
