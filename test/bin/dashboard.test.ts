import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { JSDOM } from 'jsdom';
import { chartOf, short } from '../../bin/dashboard/chart.ts';
import { compute } from '../../bin/dashboard/expression.ts';
import { linesOf } from '../../bin/dashboard/lines.ts';
import { pageOf } from '../../bin/dashboard/page.ts';
import { MINUTES, sampleSeries } from '../../bin/dashboard/sample.ts';
import { type DashboardBody, dashboardOf } from '../../bin/dashboard/template.ts';
import { readStage } from '../../lib/infrastructure/parse-stage.ts';
import { full } from '../support/synthesise.ts';

const root = join(import.meta.dirname, '../..');
let body: DashboardBody;
let html: string;
let document: Document;
beforeAll(() => {
  body = dashboardOf(readStage('full', full));
  html = pageOf(body, { stage: 'full', environments: full.environments! });
  document = new JSDOM(html).window.document;
}, 60_000);

test('every widget of the template is on the page, where CloudWatch would have it', () => {
  const sections = [...document.querySelectorAll('section')];
  expect(sections).toHaveLength(body.widgets.length);
  for (const [index, { x, y, width, height, type, properties }] of body.widgets.entries()) {
    const section = sections[index]!;
    expect(section.className).toBe(type);
    expect(section.getAttribute('style')).toBe(`grid-column:${x + 1}/span ${width};grid-row:${y + 1}/span ${height}`);
    if (properties.title) expect(section.querySelector('h3')?.textContent).toBe(properties.title);
  }
});

test('every line that a widget would show is drawn, and has its name in the legend', () => {
  const sections = [...document.querySelectorAll('section')];
  for (const [index, { type, properties }] of body.widgets.entries()) {
    if (type !== 'metric' || properties.view !== 'timeSeries') continue;
    const lines = linesOf(properties, full.environments!);
    expect(lines.length).toBeGreaterThan(0);
    const drawn = sections[index]!.querySelectorAll('path.line, polygon.area');
    const legend = [...sections[index]!.querySelectorAll('.legend span')].map(({ textContent }) =>
      textContent?.replace(' →', ''),
    );
    expect([properties.title, drawn.length]).toEqual([properties.title, lines.length]);
    expect(legend).toEqual(lines.map(({ label }) => label));
  }
});

test('nothing on it is broken, comes from elsewhere or runs', () => {
  expect(html).not.toMatch(/NaN|undefined|Infinity|\[object/);
  expect(html).not.toMatch(/<script|<link|src=|@import|url\(/);
  expect(html).not.toContain('AWS::');
});

test('alarms are there by name, and columns of the log are those of the query', () => {
  const names = [...document.querySelectorAll('.alarms li')].map(({ textContent }) => textContent);
  expect(names).toContain('edge-flag-relay-full-impaired');
  expect(names).toContain('edge-flag-relay-full-upstream-disconnected-staging');
  const columns = [...document.querySelectorAll('th')].map(({ textContent }) => textContent);
  expect(columns).toEqual(['@timestamp', 'level', 'message', 'environment', 'reason', 'prefix']);
});

test('the same stage gives the same page', () => {
  expect(pageOf(body, { stage: 'full', environments: full.environments! })).toBe(html);
});

test('what widgets say is text, not markup', () => {
  const widget = {
    type: 'text',
    x: 0,
    y: 0,
    width: 24,
    height: 2,
    properties: { markdown: '# <img src=x> & [a](https://b.example/"c)' },
  };
  const page = pageOf({ widgets: [widget] }, { stage: '<b>', environments: [] });
  expect(page).not.toContain('<img');
  expect(page).not.toContain('<b>&');
  expect(page).toContain('href="https://b.example/&quot;c"');
});

describe('metric math', () => {
  const named = { a: [1, 2, null, 4], b: [2, 0, 2, null] };
  test.each<[string, (number | null)[]]>([
    ['a', [1, 2, null, 4]],
    ['a + b', [3, 2, null, null]],
    ['10 - 2 - 3', [5, 5, 5, 5]],
    ['2 + 3 * 4', [14, 14, 14, 14]],
    ['(2 + 3) * 4', [20, 20, 20, 20]],
    ['a / b', [0.5, null, null, null]],
    ['FILL(b, 0) + 1', [3, 1, 3, 1]],
    ['100 * (1 - FILL(b, 0) / a)', [-100, 100, null, 100]],
  ])('%s', (expression, expected) => {
    expect(compute(expression, named, 4)).toEqual(expected);
  });

  test.each([
    ['a +', 'did not expect its end'],
    ['a b', 'did not expect b'],
    ['c', 'no metric has the id c'],
    ['ANOMALY_DETECTION_BAND(a)', 'did not expect ANOMALY_DETECTION_BAND'],
    ['(a', 'did not expect its end'],
  ])('%s is an error with a reason', (expression, message) => {
    expect(() => compute(expression, named, 4)).toThrow(message);
  });
});

test('lines are broken where nothing was told, and stand at the height of their values', () => {
  const values = Array.from({ length: MINUTES }, (_, minute) => (minute === 1 ? null : minute < 90 ? 0 : 100));
  const svg = chartOf({}, [{ label: 'x', axis: 'left', values }], { width: 464, height: 142 });
  const [, path] = /<path d="([^"]*)"/.exec(svg)!;
  // Plot from 52 to 452 and from 120 up to 20: zero at the bottom, a hundred at the top.
  expect(path).toMatch(/^M52 120h\.01M52 120M/);
  expect(path).toMatch(/L452 20$/);
  expect([...svg.matchAll(/class="tick end">(\d+)</g)].map(([, tick]) => tick)).toEqual(['0', '25', '50', '75', '100']);
});

test.each([
  [0, '0'],
  [0.05, '0.05'],
  [99.95, '99.95'],
  [4615, '4615'],
  [12_345, '12.3k'],
  [640_000_000, '640M'],
])('%p is written %s', (value, text) => {
  expect(short(value)).toBe(text);
});

test('a metric that nobody made samples for is an error that says where to add them', () => {
  const metric = { namespace: 'N', name: 'Unheard', dimensions: {}, statistic: 'Sum', region: 'eu-west-1' };
  expect(() => sampleSeries(metric)).toThrow('no sample of metric N Unheard: add it to bin/dashboard/sample.ts');
});

describe('npm run dashboard', () => {
  const run = (...args: string[]) =>
    promisify(execFile)(process.execPath, ['--import', 'tsx', 'bin/dashboard.ts', ...args], { cwd: root }).then(
      ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
      ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
    );

  test('writes the page of a shipped stage and says where', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'dashboard-'));
    try {
      const file = join(directory, 'new/page.html');
      expect(await run('dev', '--out', file)).toMatchObject({ code: 0, stdout: `${file}\n` });
      expect(readFileSync(file, 'utf8')).toContain('<h1>Feature flags: dev</h1>');
    } finally {
      rmSync(directory, { recursive: true });
    }
  }, 60_000);

  test.each([
    [['nowhere'], 'stage "nowhere" is not known: use -c stage=dev or prod'],
    [['dev', 'prod'], 'one stage can be shown at a time'],
    [['--wrong'], "Unknown option '--wrong'"],
  ])(
    '%p is an error with its usage',
    async (args, message) => {
      const { code, stderr } = await run(...args);
      expect(code).toBe(2);
      expect(stderr).toContain(message);
      expect(stderr).toContain('npm run dashboard -- [stage]');
    },
    60_000,
  );
});
