import { RandomChoices } from './random.ts';
import { INHERITED, KEYS, KINDS, NAMES, NUMBERS, PATTERNS, TEXTS } from './random-vocabulary.ts';

/** Attribute values, clause values, and contexts. */
export class RandomValues extends RandomChoices {
  protected operand(op: string): unknown {
    if (this.chance(0.06)) return this.value();
    if (op.startsWith('semVer')) return this.version();
    if (op === 'before' || op === 'after') return this.date();
    if (op === 'matches') return this.pick(PATTERNS);
    if (/Than/.test(op)) return this.pick(NUMBERS);
    return this.chance(0.6) ? this.pick(this.chance(0.6) ? TEXTS : KEYS) : this.value();
  }

  protected kind(): string {
    if (this.chance(0.015)) return this.pick(INHERITED);
    return this.chance(0.03) ? this.pick(['', 'kind', 'multi']) : this.pick(KINDS);
  }

  protected date(): unknown {
    if (this.chance(0.25)) return this.pick(NUMBERS);
    if (this.chance(0.1)) return this.pick(['2020-01-01', 'now', '1577836800000', '']);
    const day = this.pick([
      '2020-01-01',
      '2020-02-30',
      '2020-01-02',
      '0001-01-01',
      '1969-12-31',
      '2020-13-01',
      '2019-02-28',
      '2020-12-31',
    ]);
    const time = this.pick([
      '00:00:00',
      '00:00:00',
      '12:30:00',
      '24:00:00',
      '23:59:60',
      '5:00:00',
      '00:00',
      '23:59:59',
    ]);
    const fraction = this.pick(['', '', '.0', '.5', '.0005', '.123456789', '.1234567890', '.123', '.000']);
    const zone = this.pick(['Z', 'Z', 'Z', '+02:00', '-0700', '+02', 'z', '', '+25:00', '-00:00']);
    return (
      this.pick(['', '', '', '', ' ']) +
      day +
      this.pick(['T', 'T', 'T', 't', ' ']) +
      time +
      fraction +
      zone +
      this.pick(['', '', '', '', ' ', 'x'])
    );
  }

  protected version(): string {
    const space = () => this.pick(['', '', '', '', '', '', ' ', '\n', '\u00a0']);
    const number = () =>
      this.pick(['0', '1', '1', '2', '10', '01', '9007199254740991', '9007199254740992', '99999999999999999', 'x']);
    const part = () => this.pick(['0', '1', '2', '2', '10']);
    const numbers = [
      this.chance(0.1) ? number() : part(),
      ...this.times(this.pick([0, 1, 2, 2, 2, 2, 3]), () => (this.chance(0.05) ? number() : part())),
    ];
    const pre = this.pick([
      '',
      '',
      '',
      '-rc',
      '-rc.1',
      '-rc.10',
      '-rc.2',
      '-1',
      '-01',
      '-a.b.c',
      '-',
      '-alpha.',
      '-9007199254740993',
      '-9007199254740992',
      '-rc-1',
    ]);
    const build = this.pick(['', '', '', '+b1', '+', '+b.01', `+${'x'.repeat(this.whole(240, 254))}`]);
    return space() + this.pick(['', '', '', '', '', '', 'v']) + numbers.join('.') + pre + build + space();
  }

  protected value(depth = 0): unknown {
    const kinds: (() => unknown)[] = [
      () => this.pick(TEXTS),
      () => this.pick(NUMBERS),
      () => this.chance(0.5),
      () => null,
      () => this.date(),
      () => this.version(),
      () => this.pick(KEYS),
      () => (depth > 1 ? 1 : this.times(this.whole(0, 3), () => this.value(depth + 1))),
      () => (depth > 1 ? {} : this.object(depth + 1)),
    ];
    return this.pick(kinds)();
  }

  protected object(depth: number): unknown {
    const names = ['a', 'b', 'c', 'x', '~1y', '/y', '', ...INHERITED];
    return Object.fromEntries(this.times(this.whole(0, 3), () => [this.pick(names), this.value(depth)]));
  }

  protected context(): unknown {
    const context = this.wellFormedContext();
    if (this.chance(0.03)) return this.pick<unknown>(['user', 5, null, [], true, {}, { kind: null }, { kind: 'user' }]);
    return this.chance(0.06) && typeof context === 'object'
      ? this.damaged(context as object, 0, this.chance(0.6))
      : context;
  }

  protected wellFormedContext(): unknown {
    const shape = this.random();
    if (shape < 0.35) return { kind: 'user', ...this.attributes() };
    if (shape < 0.55) return { kind: this.kind() || 'org', ...this.attributes() };
    if (shape < 0.7) return this.legacyUser();
    const kinds = this.times(this.pick([1, 2, 2, 3]), () => this.kind() || 'org');
    const members = kinds.map((kind) => [kind, { ...this.attributes(), ...(this.chance(0.05) && { kind: 'other' }) }]);
    return Object.fromEntries([['kind', 'multi'], ...members]);
  }

  protected attributes(): object {
    const named = this.times(this.whole(0, 6), () => {
      const name = this.chance(0.08) ? this.pick(INHERITED) : this.pick(NAMES);
      return [name, this.attributeValue(name)];
    });
    return {
      key: this.pick(KEYS),
      ...(this.chance(0.6) && { when: this.date(), version: this.version(), n: this.pick(NUMBERS) }),
      ...Object.fromEntries(named),
      ...(this.chance(0.2) && { anonymous: this.pick([true, false, null, 'yes', 0]) }),
      ...(this.chance(0.1) && {
        _meta: this.pick([{ privateAttributes: ['name', '/obj/a', ''] }, null, {}, { secondary: 'x' }]),
      }),
    };
  }

  protected attributeValue(name: string): unknown {
    if (this.chance(0.2)) return this.value();
    if (name === 'when') return this.date();
    if (name === 'version') return this.version();
    if (name === 'n') return this.pick(NUMBERS);
    if (name === 'list') return this.times(this.whole(0, 3), () => this.value(1));
    return name === 'obj' ? this.object(0) : this.pick(TEXTS);
  }

  protected legacyUser(): unknown {
    const { _meta, ...top } = this.attributes() as Record<string, unknown>;
    return {
      ...top,
      ...(this.chance(0.4) && { key: this.pick<unknown>(['', '', '', 5, true, 1e21, 1.5, [], -0]) }),
      ...(this.chance(0.1) && { kind: null }),
      ...(this.chance(0.6) && {
        custom: this.chance(0.1)
          ? this.pick<unknown>(['text', 5, [1], null, true])
          : { ...this.attributes(), kind: 'x', name: this.pick(TEXTS), email: this.pick(TEXTS) },
      }),
      ...(this.chance(0.1) && { privateAttributeNames: this.pick<unknown>([['name'], [], null]) }),
      ...(this.chance(0.1) && { secondary: 'x', avatar: this.value(1), ip: '::1' }),
    };
  }

  /**
   * A copy in which one part, at least `depth` levels down, is missing or null, or (`wrongType`) of another type.
   * Lists only lose elements, because a null among them is of the wrong type.
   */
  protected damaged<T extends object>(data: T, depth: number, wrongType: boolean): T {
    const copy: object = structuredClone(data);
    let parent: object | undefined;
    let place = copy;
    let name: string | undefined;
    for (let level = 0; ; level++) {
      const names = Object.keys(place);
      if (names.length === 0) break;
      name = this.pick(names);
      parent = place;
      const next = (place as Record<string, unknown>)[name];
      if (typeof next !== 'object' || next === null || (level >= depth && this.chance(0.25))) break;
      place = next;
    }
    if (parent === undefined || name === undefined) return copy as T;
    const set = (value: unknown) =>
      Object.defineProperty(parent, name, { value, configurable: true, enumerable: true, writable: true });
    if (wrongType) set(this.pick(WRONG));
    else if (name === 'key' || name === 'version')
      return copy as T; // No data is well-formed without them.
    else if (Array.isArray(parent)) parent.splice(Number(name), 1);
    else if (this.chance(0.5)) set(null);
    else delete (parent as Record<string, unknown>)[name];
    return copy as T;
  }
}

const WRONG = [5, 0, -1, 1.5, '', 'a', 'user', true, false, [], {}, [null], ['a'], 'constructor', { a: 1 }, null];
