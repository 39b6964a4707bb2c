/** cfn-lint, AWS's linter of CloudFormation templates in Python, if `test/interop/install.sh` has installed it. */
import { execFile, execFileSync } from 'node:child_process';
import { join } from 'node:path';

const python = join(import.meta.dirname, '../../.cache/interop/python/bin/python');
/** Its command line has an interpreter's absolute path, which a copy of the folder would not follow. */
const script = 'import sys; from cfnlint.runner import main; sys.exit(main())';

export const cfnLintIsInstalled = isInstalled();

function isInstalled(): boolean {
  try {
    execFileSync(python, ['-c', 'import cfnlint'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

export interface LintFinding {
  /** `E3002`, `W3010`, `I1022`: error, warning, information. */
  readonly rule: string;
  /** The keys that lead to it: `Resources`, a logical ID, `Properties`, … */
  readonly path: readonly (string | number)[];
  readonly message: string;
  readonly file: string;
}

/** Lints files of a region with every rule, those of information included. Rejects if cfn-lint cannot run. */
export async function lintTemplates(files: readonly string[], region: string): Promise<LintFinding[]> {
  const output = await new Promise<string>((resolve, reject) => {
    const args = ['-c', script, '-c', 'I', '-f', 'json', '-r', region, '-t', ...files];
    execFile(python, args, { maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
      // Findings make it exit with a bit for each level.
      if (error && !stdout.trimStart().startsWith('['))
        reject(new Error(`cfn-lint failed: ${stderr || error.message}`));
      else resolve(stdout);
    });
  });
  const found = JSON.parse(output || '[]') as {
    readonly Rule: { readonly Id: string };
    readonly Location: { readonly Path: readonly (string | number)[] | null };
    readonly Message: string;
    readonly Filename: string;
  }[];
  return found.map(({ Rule, Location, Message, Filename }) => ({
    ...{ rule: Rule.Id, path: Location.Path ?? [], message: Message, file: Filename },
  }));
}
