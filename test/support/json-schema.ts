/** Validates JSON against a JSON schema with Python's jsonschema, if `test/interop/install.sh` has installed it. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

const python = join(import.meta.dirname, '../../.cache/interop/python/bin/python');

export const jsonSchemaIsInstalled = isInstalled();

function isInstalled(): boolean {
  try {
    execFileSync(python, ['-c', 'import jsonschema'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const script = `
import json, sys
from jsonschema.validators import validator_for
def depth(error): return len(error.absolute_path)
def innermost(error):
    return max(map(innermost, error.context), key=depth) if error.context else error
schema = json.load(open(sys.argv[1]))
kind = validator_for(schema)
kind.check_schema(schema)
found = {}
for name, document in json.load(sys.stdin).items():
    errors = [innermost(error) for error in kind(schema).iter_errors(document)]
    found[name] = ["/" + "/".join(map(str, error.absolute_path)) + ": " + error.message[:300] for error in errors]
print(json.dumps(found))
`;

/** What is wrong with each document, by its name: a pointer and a message. One process validates all. */
export function schemaErrorsOf(schemaFile: string, documents: Record<string, unknown>): Record<string, string[]> {
  const input = JSON.stringify(documents);
  return JSON.parse(execFileSync(python, ['-c', script, schemaFile], { input, encoding: 'utf8' }));
}
