// A model's tensors as the tree that their dotted names make, with sizes summed over each module. Numbered modules
// that are alike, such as the blocks, share one entry.

export interface TensorSize {
  readonly name: string;
  readonly weights: number;
  readonly bytes: number;
  /** Encoding and shape, for people; tensors that differ in it are not alike. */
  readonly label: string;
}

export interface TreeLine {
  readonly depth: number;
  /** `layers`, or `0 to 29, each` for alike modules. */
  readonly name: string;
  /** Of one of the modules where there are many alike; `label` is empty for modules. */
  readonly tensors: number;
  readonly weights: number;
  readonly bytes: number;
  readonly label: string;
}

interface Node {
  readonly name: string;
  readonly children: Map<string, Node>;
  label: string;
  tensors: number;
  weights: number;
  bytes: number;
}

function createNode(name: string): Node {
  return { name, children: new Map(), label: '', tensors: 0, weights: 0, bytes: 0 };
}

/** Lines of the tree, each module before its parts, parts in the order of `tensors`. */
export function listTree(tensors: readonly TensorSize[]): TreeLine[] {
  const root = createNode('');
  for (const { name, weights, bytes, label } of tensors) {
    let node = root;
    for (const part of name.split('.')) {
      const child = node.children.get(part) ?? createNode(part);
      node.children.set(part, child);
      node = child;
      node.tensors += 1;
      node.weights += weights;
      node.bytes += bytes;
    }
    node.label = label;
  }
  return [...root.children.values()].flatMap((node) => listNode(node, node.name, 0));
}

function listNode(node: Node, name: string, depth: number): TreeLine[] {
  const children = [...node.children.values()];
  const only = children[0];
  const { tensors, weights, bytes, label } = node;
  // A module whose one part is a tensor needs no line of its own: `norm.weight`.
  if (children.length === 1 && only && only.children.size === 0 && label === '') {
    return [{ depth, name: `${name}.${only.name}`, tensors, weights, bytes, label: only.label }];
  }
  const lines: TreeLine[] = [{ depth, name, tensors, weights, bytes, label }];
  for (let i = 0; i < children.length; ) {
    const first = children[i]!;
    let last = i;
    while (last + 1 < children.length && follows(children[last]!, children[last + 1]!)) last += 1;
    const title = last === i ? first.name : `${first.name} to ${children[last]!.name}, each`;
    lines.push(...listNode(first, title, depth + 1));
    i = last + 1;
  }
  return lines;
}

/** Whether two neighbours are modules of consecutive numbers and equal contents. */
function follows(a: Node, b: Node): boolean {
  const numbers = /^\d+$/.test(a.name) && Number(b.name) === Number(a.name) + 1;
  return numbers && describe(a) === describe(b);
}

function describe(node: Node): string {
  const parts = [...node.children.values()].map((child) => `${child.name}(${describe(child)})`);
  return `${node.label}:${node.bytes}:${parts.join(',')}`;
}
