import type { Series } from './sample.ts';

type Value = number | null;
type Compute = (minute: number) => Value;

/**
 * The part of CloudWatch's metric math that our widgets use: numbers, names, + - * /, brackets, FILL(series, number), SUM(series)
 * and RUNNING_SUM(series).
 * A missing value or a division by zero gives a missing value. Throws an Error on anything else. AWS: "Using math expressions with CloudWatch metrics".
 */
export function compute(expression: string, named: Readonly<Record<string, Series>>, length: number): Series {
  const tokens = expression.match(/[A-Za-z]\w*|\d+(?:\.\d+)?|[-+*/(),]|\S/g) ?? [];
  let at = 0;
  const wrong = () => new Error(`metric math "${expression}": unexpected ${tokens[at] ?? 'end'}`);
  const take = (wanted: string) => {
    if (tokens[at] !== wanted) throw wrong();
    at += 1;
  };
  const series = (name: string): Series => {
    const found = named[name];
    if (!found) throw new Error(`metric math "${expression}": no metric has the id ${name}`);
    return found;
  };

  function factor(): Compute {
    const token = tokens[at];
    if (token === undefined) throw wrong();
    at += 1;
    if (token === '(') {
      const inner = sum();
      take(')');
      return inner;
    }
    if (/^\d/.test(token)) return () => Number(token);
    if (token === 'FILL') {
      take('(');
      const inner = sum();
      take(',');
      const filling = sum();
      take(')');
      return (minute) => inner(minute) ?? filling(minute);
    }
    if (token === 'SUM' || token === 'RUNNING_SUM') {
      take('(');
      const inner = sum();
      take(')');
      const until = runningSum(Array.from({ length }, (_, minute) => inner(minute)));
      return (minute) => until[token === 'SUM' ? length - 1 : minute] ?? null;
    }
    if (/^[a-z]/.test(token)) {
      const values = series(token);
      return (minute) => values[minute] ?? null;
    }
    at -= 1;
    throw wrong();
  }
  const binary =
    (operators: Readonly<Record<string, (a: number, b: number) => number>>, operand: () => Compute) => () => {
      let left = operand();
      for (let operator = operators[tokens[at] ?? '']; operator; operator = operators[tokens[at] ?? '']) {
        at += 1;
        const [a, apply, b] = [left, operator, operand()];
        left = (minute) => {
          const [x, y] = [a(minute), b(minute)];
          const result = x === null || y === null ? Number.NaN : apply(x, y);
          return Number.isFinite(result) ? result : null;
        };
      }
      return left;
    };
  const product = binary({ '*': (a, b) => a * b, '/': (a, b) => a / b }, factor);
  const sum: () => Compute = binary({ '+': (a, b) => a + b, '-': (a, b) => a - b }, product);

  const result = sum();
  if (at < tokens.length) throw wrong();
  return Array.from({ length }, (_, minute) => result(minute));
}

/** The sum up to each minute; missing values count nothing. */
function runningSum(values: Series): number[] {
  let sum = 0;
  return values.map((value) => {
    sum += value ?? 0;
    return sum;
  });
}
