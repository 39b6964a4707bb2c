/** AWS's answers in XML, as CloudFormation, Route 53 and other services send them. */
import { XMLParser, XMLValidator } from 'fast-xml-parser';

/** The text of an element without children, or its children by name: a list where the name is repeated. */
export type Xml = string | { readonly [name: string]: Xml | readonly Xml[] };

const parser = new XMLParser({
  ...{ ignoreAttributes: true, ignoreDeclaration: true, ignorePiTags: true },
  // Account IDs and versions begin with zeros.
  parseTagValue: false,
  // Those by number, too.
  htmlEntities: true,
});

/** The content of the root element, which must have this name: a login page may be well-formed, too. Throws an Error for anything else. */
export function parseXml(text: string, root: string): Xml {
  const problem = XMLValidator.validate(text);
  if (problem !== true) throw new Error(`not XML: ${problem.err.msg}`);
  const { [root]: content, ...more } = parser.parse(text) as Record<string, Xml | readonly Xml[] | undefined>;
  if (content === undefined || Array.isArray(content) || Object.keys(more).length > 0)
    throw new Error(`not one ${root}`);
  return content as Xml;
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
