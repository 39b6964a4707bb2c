/** Reads metrics with the parsers of Prometheus's own Python client, if `test/interop/install.sh` has installed it. */
import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';

const python = join(import.meta.dirname, '../../.cache/interop/python/bin/python');

export const prometheusParserIsInstalled = isInstalled();

function isInstalled(): boolean {
  try {
    execFileSync(python, ['-c', 'import prometheus_client'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

export interface MetricFamily {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: readonly {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly value: number | string;
  }[];
}

const script = `
import json, sys
if sys.argv[1] == "openmetrics":
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
else:
    from prometheus_client.parser import text_string_to_metric_families
text = sys.stdin.buffer.read().decode("utf-8")
families = list(text_string_to_metric_families(text))
number = lambda value: value if value == value and abs(value) != float("inf") else str(value)
print(json.dumps([
    {"name": f.name, "type": f.type, "help": f.documentation,
     "samples": [{"name": s.name, "labels": s.labels, "value": number(s.value)} for s in f.samples]}
    for f in families]))
`;

/** Rejects with the parser's message if the text is invalid. */
export function parseMetrics(text: string, format: 'text' | 'openMetrics'): Promise<MetricFamily[]> {
  return new Promise((resolve, reject) => {
    const args = ['-c', script, format.toLowerCase()];
    const child = execFile(python, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error) reject(new Error(stderr.trim().split('\n').at(-1)));
      else resolve(JSON.parse(stdout) as MetricFamily[]);
    });
    child.stdin?.end(text);
  });
}
