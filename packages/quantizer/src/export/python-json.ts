// JSON as Python programs expect it in config files: keys sorted, and a real number with a point even where it is
// whole, because Python reads `10000` as an int and `10000.0` as a float, and transformers checks which one it got.

/** A number that is written with a point or an exponent, whatever its value. */
export class Real {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

export type PythonJson =
  | string
  | number
  | boolean
  | null
  | Real
  | readonly PythonJson[]
  | { readonly [key: string]: PythonJson };

/** Two spaces of indentation, keys sorted by UTF-16 code units, a newline at the end. */
export function formatPythonJson(value: PythonJson): string {
  return `${format(value, '')}\n`;
}

function format(value: PythonJson, indent: string): string {
  if (value instanceof Real) {
    const text = JSON.stringify(value.value);
    return /^-?\d+$/.test(text) ? `${text}.0` : text;
  }
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const inner = `${indent}  `;
  const [open, close, items] = isList(value)
    ? ['[', ']', value.map((item) => format(item, inner))]
    : [
        '{',
        '}',
        Object.keys(value)
          .sort()
          .map((key) => `${JSON.stringify(key)}: ${format(value[key]!, inner)}`),
      ];
  if (items.length === 0) return `${open}${close}`;
  return `${open}\n${items.map((item) => `${inner}${item}`).join(',\n')}\n${indent}${close}`;
}

function isList(value: object): value is readonly PythonJson[] {
  return Array.isArray(value);
}
