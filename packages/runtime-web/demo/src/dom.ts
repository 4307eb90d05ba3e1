// The few lines that stand in for a framework: elements from a call, and their replacement.

export type Child = Node | string | number | null | undefined | false;

type Props = Readonly<Record<string, unknown>>;

/**
 * Makes an element. A function named `on…` listens; `true` and `false` set and leave out an attribute; `value`, `checked` and
 * `selected` are properties; everything else is an attribute. No inline styles: the page's policy forbids them.
 */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function') element.addEventListener(name.slice(2), value as EventListener);
    else if (name === 'value' || name === 'checked' || name === 'selected')
      (element as unknown as Record<string, unknown>)[name] = value;
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  append(element, children);
  return element;
}

function append(element: Element, children: readonly Child[]): void {
  for (const child of children)
    if (child !== null && child !== undefined && child !== false)
      element.append(typeof child === 'number' ? String(child) : child);
}

/** Puts these children in place of those there are. */
export function replace(element: Element, ...children: readonly Child[]): void {
  element.textContent = '';
  append(element, children);
}

/** An element of index.html. */
export function part(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no element "${id}"`);
  return element;
}

/** Pairs of a term and what it is, as rows. Rows without a value are left out. */
export function facts(rows: readonly (readonly [term: string, value: Child])[]): HTMLDListElement {
  const shown = rows.filter(([, value]) => value !== null && value !== undefined && value !== false);
  return h(
    'dl',
    { class: 'facts' },
    ...shown.map(([term, value]) => h('div', {}, h('dt', {}, term), h('dd', {}, value))),
  );
}
