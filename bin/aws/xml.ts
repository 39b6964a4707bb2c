/** AWS's answers in XML, as CloudFormation and other services of its Query protocol send them. */

/** The text of an element without children, or its children by name: a list where the name is repeated. */
export type Xml = string | { readonly [name: string]: Xml | readonly Xml[] };

interface Open {
  readonly name: string;
  text: string;
  readonly children: Record<string, Xml | Xml[]>;
}

const token = /<!\[CDATA\[([\s\S]*?)\]\]>|<[?!][\s\S]*?>|<(\/?)([\w.:-]+)[^>]*?(\/?)>|([^<]+)/g;

/** The content of the root element. Throws an Error for what is no XML; attributes are left out. */
export function parseXml(text: string): Xml {
  const root: Open = { name: '', text: '', children: {} };
  const open = [root];
  for (const [all, data, closing, name, empty, plain] of text.matchAll(token)) {
    const top = open.at(-1)!;
    if (plain !== undefined || data !== undefined) top.text += data ?? unescaped(all);
    else if (closing) {
      if (open.length === 1 || top.name !== name) throw new Error('the answer is not XML');
      close(open);
    } else if (name !== undefined) {
      open.push({ name, text: '', children: {} });
      if (empty) close(open);
    }
  }
  const [content] = Object.values(root.children);
  if (open.length !== 1 || content === undefined || Array.isArray(content)) throw new Error('the answer is not XML');
  return content as Xml;
}

function close(open: Open[]): void {
  const { name, text, children } = open.pop()!;
  const value = Object.keys(children).length > 0 ? children : text.trim();
  const siblings = open.at(-1)!.children;
  const known = Object.hasOwn(siblings, name) ? siblings[name] : undefined;
  siblings[name] = known === undefined ? value : Array.isArray(known) ? [...known, value] : [known, value];
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function unescaped(text: string): string {
  return text.replace(/&(?:#x([\da-f]+)|#(\d+)|(\w+));/gi, (all, hex, decimal, name) => {
    if (name !== undefined) return entities[name] ?? all;
    return String.fromCodePoint(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16));
  });
}

/** The text at a path of names; '' if there is none. */
export function textAt(xml: Xml | undefined, ...path: readonly string[]): string {
  const found = at(xml, path);
  return typeof found === 'string' ? found : '';
}

/** The elements of a list; `member` and `item` are AWS's names for them, and part of the path. */
export function listAt(xml: Xml | undefined, ...path: readonly string[]): readonly Xml[] {
  const found = at(xml, path);
  if (found === undefined || found === '') return [];
  return Array.isArray(found) ? found : [found as Xml];
}

function at(xml: Xml | undefined, path: readonly string[]): Xml | readonly Xml[] | undefined {
  let found: Xml | readonly Xml[] | undefined = xml;
  for (const name of path) {
    if (typeof found !== 'object' || Array.isArray(found) || !Object.hasOwn(found, name)) return undefined;
    found = (found as { readonly [name: string]: Xml | readonly Xml[] })[name];
  }
  return found;
}
