/** One member of a header like Accept: `text/plain;version=0.0.4;q=0.2`. */
interface Offer {
  /** In small letters. */
  readonly name: string;
  readonly parameters: ReadonlyMap<string, string>;
  /** From 0, not wanted, to 1, the default. */
  readonly weight: number;
}

/** What a client offers to take, in its order (RFC 9110 section 12.4.2). A weight that is none counts as 0. */
export function offersIn(header: string | string[] | undefined): Offer[] {
  return String(header ?? '')
    .split(',')
    .flatMap((one) => {
      const [name = '', ...rest] = one.split(';').map((part) => part.trim());
      if (!/^[\w.+*/-]+$/.test(name)) return [];
      const pairs = rest.map((pair): [string, string] => {
        const at = pair.indexOf('=');
        return [pair.slice(0, Math.max(at, 0)).toLowerCase(), pair.slice(at + 1).replace(/^"(.*)"$/, '$1')];
      });
      const parameters = new Map(pairs);
      const given = parameters.get('q') ?? '1';
      const weight = /^[\d.]+$/.test(given) ? Number(given) || 0 : 0;
      return [{ name: name.toLowerCase(), parameters, weight }];
    });
}
