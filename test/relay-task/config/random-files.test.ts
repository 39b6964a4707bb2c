/** Random files and variables, seeded: whatever somebody writes, the answer is a configuration or a list of problems. */
import { type ParsedConfig, parseConfig, type Variables } from '../../../relay-task/config/config.ts';
import { describeConfig } from '../../../relay-task/config/print.ts';
import type { Setting, SettingWithoutEffect } from '../../../relay-task/config/settings.ts';
import {
  environmentSettings,
  filterSettings,
  settings,
  settingsIn,
  settingsWithoutEffect,
} from '../../../relay-task/config/settings.ts';
import { RelayError } from '../../../relay-task/errors.ts';
import { RandomChoices, randomFrom } from '../../support/random.ts';

const COUNT = process.env.LONG ? 50_000 : 500;
const PATH = 'relay.conf';

type AnySetting = Setting<unknown> | SettingWithoutEffect;

const rows: readonly AnySetting[] = [
  ...settingsIn(settings),
  ...settingsIn(environmentSettings),
  ...settingsIn(filterSettings),
  ...settingsWithoutEffect,
];
const sections = [...new Set(rows.map(({ section }) => section)), 'Nowhere', 'a.b-c', '__proto__', 'constructor'];
const names = ['a', 'b', 'shop', 'A b', '', '__proto__', 'constructor', 'x/y', '$CID', 'é🏁', 'with \\"quotes\\"'];
const usual = [
  ...['true', 'yes', 'off', '0', '1', '-1', '8030', '99999', '1.5', '5', '30s', '1m30s', '-1s', '5MiB', '0B'],
  ...['info', 'none', 'ping', 'all', 'any', 'restricted', '1.2', 'http://h', 'https://u:p@h:1/x', 'redis://h:1/2'],
  ...['rediss://:pw@h', 'tcp://h:1', 'tcp://h', 'h:1', 'h:1,h:2', '[::1]:7', 'a,b', 'a, b', 'ld-$CID', '{p}', 'p'],
  ...['sdk-11111111-2222', 'mob-1', 'rel-1', '/a/b', 'name:value'],
];
const strange = [
  ...[
    '',
    ' ',
    '""',
    '" "',
    '"a\\nb"',
    '"',
    '\\',
    '\\q',
    'a\\',
    '"a" b "c"',
    ',',
    ',,',
    'a,,b',
    '" , "',
    'a,',
    '=',
    '==',
  ],
  ...[
    '# x',
    'a # b',
    '; x',
    '[x]',
    '://',
    'http://',
    '\u0000',
    '\u2028',
    '\u061c',
    '\t',
    'é🏁',
    '\ud800',
    '%',
    '%zz',
    'x'.repeat(5_000),
  ],
  ...[
    '1e999',
    'Infinity',
    'NaN',
    '99999999999999999999',
    '0x10',
    '٣',
    '__proto__',
    'null',
    '9999999999999999h',
    '1EiB',
  ],
];

class RandomConfiguration extends RandomChoices {
  file(): string {
    const lines = this.times(this.whole(0, 12), () => this.line());
    const head = this.chance(0.5) ? ['[Environment "a"]', 'sdkKey = sdk-a'] : [];
    return (this.chance(0.05) ? '\uFEFF' : '') + [...head, ...lines].join(this.pick(['\n', '\n', '\r\n', '\n\n']));
  }

  variables(): Variables {
    return Object.fromEntries(
      this.some(0.5, 6, () => {
        const { env } = this.pick(rows);
        return [env.endsWith('_') ? env + this.pick(names) : env, this.value()];
      }),
    );
  }

  private line(): string {
    const kind = this.random();
    if (kind < 0.1)
      return this.pick(['', '# comment', ';', '[', ']', '[]', '[Main', '[Main]]', '[Environment "a', '"', '=', '\\']);
    if (kind < 0.2) return this.pick(strange);
    if (kind < 0.4) return this.header(this.pick(sections));
    const { section, option } = this.pick(rows);
    const under = this.chance(0.8) ? `${this.header(section)}${this.pick(['\n', ' '])}` : '';
    const name = option ?? 'noSuchOption';
    const written = this.chance(0.1) ? this.pick([name.toUpperCase(), `${name}x`, name.slice(1)]) : name;
    return under + written + (this.chance(0.1) ? '' : `${this.pick([' = ', '=', ' =', '= '])}${this.value()}`);
  }

  private header(section: string): string {
    const isNamed = /^(environment|filters)$/i.test(section);
    const named = this.chance(0.1) ? !isNamed : isNamed;
    const shown = this.chance(0.2) ? section.toUpperCase() : section;
    return named ? `[${shown} "${this.pick(names)}"]` : `[${shown}]`;
  }

  private value(): string {
    return this.pick(this.chance(0.6) ? usual : strange);
  }
}

/** What is written here is shown to people, so it is one line, and not as long as the input may be. */
function describeMessage(message: string): string | undefined {
  if (/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(message)) return 'has a control character';
  if (message.trim() === '') return 'is empty';
  return message.length > 2_000 ? 'is long' : undefined;
}

test(`${COUNT} random configurations are accepted, or rejected with named problems of one line each`, () => {
  let accepted = 0;
  for (let index = 0; index < COUNT; index += 1) {
    const seed = `configuration ${index}`;
    const random = new RandomConfiguration(randomFrom(seed));
    const text = random.file();
    const variables = random.variables();
    let messages: readonly string[];
    try {
      const parsed: ParsedConfig = parseConfig(variables, { path: PATH, text });
      expect(typeof describeConfig(parsed.effective)).toBe('string');
      accepted += 1;
      messages = parsed.warnings;
    } catch (error) {
      if (!(error instanceof RelayError)) {
        throw new Error(`${seed}: ${JSON.stringify({ text, variables })} gives a stack trace`, { cause: error });
      }
      messages = error.cause as readonly string[];
      expect({ seed, code: error.code, some: messages.length > 0 }).toEqual({
        seed,
        code: 'CONFIG_INVALID',
        some: true,
      });
    }
    const faults = messages
      .map((message) => ({ message, fault: describeMessage(message) }))
      .filter(({ fault }) => fault);
    expect({ seed, faults }).toEqual({ seed, faults: [] });
  }
  // Both outcomes occur often enough to mean something.
  expect(accepted).toBeGreaterThan(COUNT / 100);
  expect(accepted).toBeLessThan(COUNT / 2);
});
