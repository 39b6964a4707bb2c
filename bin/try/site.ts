/** What visitors of the site at the local edge see. */
import { DECISION_HEADER } from '../../lambda/edge-router/config.ts';
import { type Trial, WrongArguments } from './trial.ts';

interface Visit {
  readonly status: number;
  readonly origin: string;
  readonly decision: string;
  readonly cookies: readonly string[];
  readonly response: Response;
}

async function visit(edgeUrl: string, path: string, cookies: readonly string[]): Promise<Visit> {
  const headers = cookies.length > 0 ? { Cookie: cookies.join('; ') } : undefined;
  const response = await fetch(`${edgeUrl}${path}`, { redirect: 'manual', ...(headers && { headers }) });
  return {
    status: response.status,
    origin: response.headers.get('x-origin') ?? '-',
    decision: response.headers.get(DECISION_HEADER) ?? '',
    cookies: response.headers.getSetCookie().map((one) => one.split(';')[0] ?? ''),
    response,
  };
}

export async function tryVisit({ running, args, output }: Trial): Promise<number> {
  const path = pathIn(args);
  const first = await visit(running.edgeUrl, path, []);
  const again = await visit(running.edgeUrl, path, first.cookies);
  const width = Math.max(first.origin.length, again.origin.length);
  const line = (who: string, { status, origin, decision }: Visit) =>
    output.out(`${who.padEnd(12)}${status}  ${output.paint('bold', origin.padEnd(width))}  ${decision}\n`);
  line('new viewer', first);
  line('again', again);
  const { headers } = first.response;
  const others = [...headers].filter(([name]) => /^x-/.test(name) && !['x-origin', DECISION_HEADER].includes(name));
  const location = headers.get('location');
  for (const [name, value] of [...others, ...(location === null ? [] : [['location', location] as const])]) {
    output.out(`            ${output.paint('dim', `${name}: ${value}`)}\n`);
  }
  if (first.cookies.length > 0) {
    output.out(
      `            ${output.paint('dim', `cookie ${first.cookies.join('; ')}: the id that percentages apply to`)}\n`,
    );
  }
  const url = await receivedUrl(first.response);
  if (url !== undefined) output.out(`            ${output.paint('dim', `the origin received ${url}`)}\n`);
  return 0;
}

/** Sample origins answer with what they received below `/received`. */
async function receivedUrl(response: Response): Promise<string | undefined> {
  if (!/json/.test(response.headers.get('content-type') ?? '')) return undefined;
  const { url } = (await response.json()) as { readonly url?: unknown };
  return typeof url === 'string' ? url : undefined;
}

export async function tryViewers({ running, args, output }: Trial): Promise<number> {
  const [text = '100', ...more] = args;
  if (!/^[1-9]\d{0,4}$/.test(text) || more.length > 0)
    throw new WrongArguments(`expected a number of viewers, not ${args.join(' ')}`);
  const count = Number(text);
  const counts = new Map(running.origins.map((name) => [name, 0]));
  const visitors = Array.from({ length: count }, () => () => visit(running.edgeUrl, '/', []));
  // A few at a time: the functions run one request after the other.
  while (visitors.length > 0) {
    const met = await Promise.all(visitors.splice(0, 10).map((come) => come()));
    for (const { origin } of met) counts.set(origin, (counts.get(origin) ?? 0) + 1);
  }
  const width = Math.max(...[...counts.keys()].map((name) => name.length));
  for (const [name, number] of counts) {
    const bar = '█'.repeat(Math.round((number / count) * 40));
    output.out(`${name.padEnd(width)}  ${String(number).padStart(text.length)}  ${output.paint('green', bar)}\n`);
  }
  return 0;
}

export async function tryReceived({ running, args, output }: Trial): Promise<number> {
  const path = args.length === 0 ? '/received' : pathIn(args);
  const headers = { Cookie: 'session=1', Authorization: 'Bearer x', 'X-Any': 'other' };
  const response = await fetch(`${running.edgeUrl}${path}`, { headers });
  output.out(await response.text());
  return 0;
}

function pathIn([path = '/', ...more]: readonly string[]): string {
  if (!path.startsWith('/') || more.length > 0)
    throw new WrongArguments(`expected a path that begins with a slash, not ${[path, ...more].join(' ')}`);
  return path;
}
