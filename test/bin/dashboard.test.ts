import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { JSDOM } from 'jsdom';
import type { DashboardBody } from '../../bin/dashboard/body.ts';
import { chartOf, short } from '../../bin/dashboard/chart.ts';
import { compute } from '../../bin/dashboard/expression.ts';
import { linesOf } from '../../bin/dashboard/lines.ts';
import { pageOf } from '../../bin/dashboard/page.ts';
import { runDashboard } from '../../bin/dashboard/run.ts';
import { MINUTES, sampleSeries } from '../../bin/dashboard/sample.ts';
import { dashboardOf } from '../../bin/dashboard/template.ts';
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
});

test('the page has every widget of the template, at its position in CloudWatch @heavy', () => {
  const sections = [...document.querySelectorAll('section')];
  expect(sections).toHaveLength(body.widgets.length);
  for (const [index, { x, y, width, height, type, properties }] of body.widgets.entries()) {
    const section = sections[index]!;
    expect(section.className).toBe(type);
    expect(section.getAttribute('style')).toBe(`grid-column:${x + 1}/span ${width};grid-row:${y + 1}/span ${height}`);
    if (properties.title) expect(section.querySelector('h3')?.textContent).toBe(properties.title);
  }
});

test('every line of a widget has the colour of its legend @heavy', () => {
  const sections = [...document.querySelectorAll('section')];
  let charts = 0;
  for (const [index, { type, properties }] of body.widgets.entries()) {
    if (type !== 'metric' || properties.view !== 'timeSeries') continue;
    charts += 1;
    const lines = linesOf(properties, full.environments!);
    expect(lines.length).toBeGreaterThan(0);
    const legend = [...sections[index]!.querySelectorAll<HTMLElement>('.legend span')];
    expect(legend.map(({ textContent }) => textContent?.replace(' →', ''))).toEqual(lines.map(({ label }) => label));
    const colours = legend.map((entry) => /#\w{6}/.exec(entry.innerHTML)?.[0]);
    for (const colour of colours) {
      const drawn = sections[index]!.querySelectorAll(`path[stroke="${colour}"], path[fill="${colour}"]`);
      expect([properties.title, colour, drawn.length > 0]).toEqual([properties.title, colour, true]);
    }
  }
  expect(charts).toBeGreaterThan(20);
});

test("every threshold is drawn with its alarm's text and value", () => {
  const sections = [...document.querySelectorAll('section')];
  let thresholds = 0;
  for (const [index, { properties }] of body.widgets.entries()) {
    for (const { label, value } of properties.annotations?.horizontal ?? []) {
      thresholds += 1;
      expect(sections[index]!.querySelector('path[stroke="#d13212"]')).not.toBeNull();
      const texts = [...sections[index]!.querySelectorAll('text')].map(({ textContent }) => textContent);
      expect(texts).toContain(`${label} ${value}`);
    }
  }
  expect(thresholds).toBeGreaterThan(3);
});

test('the page has no scripts, loads nothing, and has no broken values', () => {
  expect(html).not.toMatch(/NaN|undefined|Infinity|\[object/);
  expect(html).not.toMatch(/<script|<link|src=|@import|url\(/);
  expect(html).not.toContain('AWS::');
});

test('alarms are listed by name, and the log table has the columns of the query', () => {
  const names = [...document.querySelectorAll('.alarms li')].map(({ textContent }) => textContent);
  expect(names).toContain('edge-flag-relay-full-impaired');
  expect(names).toContain('edge-flag-relay-full-upstream-disconnected-staging');
  expect(names).toContain('us-west-2: edge-flag-relay-full-impaired');
  const tables = [...document.querySelectorAll('table')];
  // Of the home region and of us-west-2.
  expect(tables).toHaveLength(2);
  for (const table of tables) {
    const columns = [...table.querySelectorAll('th')].map(({ textContent }) => textContent);
    expect(columns).toEqual(['@timestamp', 'level', 'message', 'environment', 'reason', 'prefix']);
  }
});

test('the page is the same for the same stage @heavy', () => {
  const some = { ...body, widgets: process.env.LONG ? body.widgets : body.widgets.slice(0, 8) };
  const options = { stage: 'full', environments: full.environments! };
  expect(pageOf(some, options)).toBe(pageOf(some, options));
});

test('the text of widgets is escaped', () => {
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
    ['SUM(a) + 1', [8, 8, 8, 8]],
    ['RUNNING_SUM(FILL(b, 1)) / SUM(a)', [2 / 7, 2 / 7, 4 / 7, 5 / 7]],
    ['100 * (1 - FILL(b, 0) / a)', [-100, 100, null, 100]],
  ])('%s is computed minute by minute', (expression, expected) => {
    expect(compute(expression, named, 4)).toEqual(expected);
  });

  test.each([
    ['a +', 'unexpected end'],
    ['a b', 'unexpected b'],
    ['c', 'no metric has the id c'],
    ['ANOMALY_DETECTION_BAND(a)', 'unexpected ANOMALY_DETECTION_BAND'],
    ['(a', 'unexpected end'],
  ])('%s is an error with a reason', (expression, message) => {
    expect(() => compute(expression, named, 4)).toThrow(message);
  });
});

describe('a chart', () => {
  const size = { width: 464, height: 142 };
  const lineOf = (at: (minute: number) => number | null, axis: 'left' | 'right' = 'left') => ({
    label: 'x',
    axis,
    values: Array.from({ length: MINUTES }, (_, minute) => at(minute)),
  });
  const pathsOf = (svg: string, colour: string) =>
    [...svg.matchAll(/<path d="([^"]*)"[^>]*stroke="([^"]*)"/g)].filter(([, , stroke]) => stroke === colour);
  const textsOf = (svg: string) => [...svg.matchAll(/<text [^>]*>([^<]*)</g)].map(([, text]) => text);

  test('breaks a line where values are missing, and draws values to scale', () => {
    const svg = chartOf({}, [lineOf((minute) => (minute === 1 ? null : minute < 90 ? 0 : 100))], size);
    const [[, path] = []] = pathsOf(svg, '#1f77b4');
    // The plot is from 52 to 452 and from 120 up to 20: zero at the bottom, a hundred at the top.
    expect(path).toMatch(/^M52 120M56.5 120L/);
    expect(path).toMatch(/L452 20$/);
    expect(path?.match(/M/g)).toHaveLength(2);
    // The lone value at the start is a dot.
    expect(svg.match(/transform="translate\(52 120\)" fill="#1f77b4"/g)).toHaveLength(1);
    expect(textsOf(svg)).toEqual(expect.arrayContaining(['0', '20', '100', '-3:00', '-1:30', 'now']));
  });

  test('extends its axis to a threshold above all values', () => {
    const annotations = { horizontal: [{ value: 900, label: 'page at' }] };
    const svg = chartOf({ annotations }, [lineOf(() => 10)], size);
    const [[, path] = []] = pathsOf(svg, '#d13212');
    const [, height] = /^M52 ([\d.]+)L/.exec(path ?? '') ?? [];
    expect(Number(height)).toBeGreaterThan(20);
    expect(Number(height)).toBeLessThan(40);
    expect(textsOf(svg)).toContain('page at 900');
  });

  test('has days on its time axis if its range is thirty days', () => {
    expect(textsOf(chartOf({ start: '-P30D' }, [lineOf(() => 10)], size))).toEqual(
      expect.arrayContaining(['-30 d', '-15 d', 'now']),
    );
  });

  test('stacks areas', () => {
    const svg = chartOf({ stacked: true }, [lineOf(() => 40), lineOf(() => 60)], size);
    const tops = ['#1f77b4', '#e07b00'].map((colour) =>
      new RegExp(`d="M52 (\\d+)[^"]*"[^>]*fill="${colour}"`).exec(svg),
    );
    expect(tops.map((top) => top?.[1])).toEqual(['80', '20']);
  });

  test('has a separate scale for the right axis', () => {
    const svg = chartOf({}, [lineOf(() => 10), lineOf(() => 4_000, 'right')], size);
    expect(textsOf(svg)).toEqual(expect.arrayContaining(['10', '4000']));
  });
});

test.each([
  [0, '0'],
  [0.05, '0.05'],
  [99.95, '99.95'],
  [4615, '4615'],
  [12_345, '12.3k'],
  [640_000_000, '640M'],
])('the value %p is written as %s', (value, text) => {
  expect(short(value)).toBe(text);
});

test('a metric without sample data is an error that says where to add it', () => {
  const metric = { namespace: 'N', name: 'Unheard', dimensions: {}, statistic: 'Sum', region: 'eu-west-1' };
  expect(() => sampleSeries(metric)).toThrow('no sample data for metric N Unheard; add it to bin/dashboard/sample.ts');
});

describe('npm run dashboard', () => {
  test('writes the page of a shipped stage and prints its path @heavy', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'dashboard-'));
    try {
      const file = join(directory, 'new/page.html');
      expect(await runDashboard(['dev', '--out', file])).toBe(`${file}\n`);
      expect(readFileSync(file, 'utf8')).toContain('<h1>Feature flags: dev</h1>');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('exits with 2 for an unknown option @heavy', async () => {
    const command = ['--import', 'tsx', 'bin/dashboard.ts', '--wrong'];
    await expect(promisify(execFile)(process.execPath, command, { cwd: root })).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('Unknown option --wrong: expected one of --out, --app, --prometheus, --help'),
    });
  });

  test.each([
    [['nowhere'], 'stage "nowhere" is unknown: expected dev or prod'],
    [['dev', 'prod'], 'expected one stage'],
  ])('rejects the arguments %p, with its usage', async (args, message) => {
    await expect(runDashboard(args)).rejects.toThrow(message);
    await expect(runDashboard(args)).rejects.toThrow('npm run dashboard -- [stage]');
  });
});
