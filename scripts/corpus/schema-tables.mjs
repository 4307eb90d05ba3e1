// The schema as tables for people: docs/format/schema.md.
import { kindOf } from './schema.mjs';

function presenceOf(field) {
  if (field.required) return 'required';
  return ['scalar', 'enum'].includes(kindOf(field)) && !field.nullable ? 'default' : 'optional';
}

const TYPES = { ubyte: 'u8', ushort: 'u16', uint: 'u32', ulong: 'u64', double: 'f64' };

function typeOf({ type, vector }) {
  const name = TYPES[type] ?? type;
  return vector ? `[${name}]` : name;
}

const INTRODUCTION = `# Schema of the header, as tables

Made from [schemas/duobit.fbs](../../schemas/duobit.fbs) by \`scripts/make-corpus.mjs\`; part of [the specification](../format.md).
"Presence" is *required* (by FlatBuffers), *default* (absent means 0 or false) or *optional* (absent means that there is none).
`;

/** Markdown: one table for each table of the schema, root first, then the enums. */
export function renderSchema({ tables, enums, root }) {
  const names = [root, ...Object.keys(tables).filter((name) => name !== root)];
  const parts = names.map((name) => {
    const rows = tables[name].map((field) =>
      [field.id, field.name, typeOf(field), presenceOf(field), field.comment || ' '].join(' | '),
    );
    return [
      `## ${name}${name === root ? ', the root' : ''}`,
      '',
      '| Id | Field | Type | Presence | Notes |',
      '| ---: | --- | --- | --- | --- |',
      ...rows.map((row) => `| ${row} |`),
    ].join('\n');
  });
  const lists = Object.entries(enums).map(
    ([name, values]) =>
      `- **${name}** (u16): ${Object.entries(values)
        .map(([key, value]) => `${value} ${key}`)
        .join(', ')}`,
  );
  return `${INTRODUCTION}\n${parts.join('\n\n')}\n\n## Enums\n\n${lists.join('\n')}\n`;
}
