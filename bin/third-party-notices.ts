/** Names and licences of the packages whose code a bundle contains, which most of their licences require to go with it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Metafile } from 'esbuild';

export const NOTICES_FILE = 'THIRD-PARTY-NOTICES.txt';

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string;
  readonly author?: string | { readonly name?: string };
  readonly homepage?: string;
}

/** The folders of packages with code in the bundle, relative to the repository's root, sorted. */
export function bundledPackages({ outputs }: Metafile): string[] {
  const files = Object.values(outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [file] : [])),
  );
  // The last node_modules counts: packages are nested where versions differ.
  const folders = files.flatMap((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file) ?? []);
  return [...new Set(folders)].sort();
}

/** Throws an Error for a package that names no licence. */
export function noticesOf(metafile: Metafile, root: string): string {
  const notices = bundledPackages(metafile).map((folder) => noticeOf(join(root, folder)));
  return `This program contains the following packages.\n\n${notices.join('\n')}`;
}

function noticeOf(folder: string): string {
  const { name, version, license, author, homepage } = JSON.parse(
    readFileSync(join(folder, 'package.json'), 'utf8'),
  ) as Manifest;
  if (!license) throw new Error(`${name}@${version} names no licence: find out which it has before bundling it`);
  const by = typeof author === 'string' ? author : author?.name;
  const texts = readdirSync(folder)
    .filter((file) => /^(licen[cs]e|copying|notice)(?!.*\.[cm]?[jt]s$)/i.test(file))
    .sort()
    .map((file) => readFileSync(join(folder, file), 'utf8').trim());
  const head = `${name} ${version} (${license})`;
  const about = [by && `by ${by}`, homepage].filter((line) => line !== undefined && line !== '').join(', ');
  return [
    '='.repeat(80),
    about === '' ? head : `${head}, ${about}`,
    '',
    texts.length > 0
      ? texts.join('\n\n')
      : `The package contains no licence text: see https://spdx.org/licenses/${license}`,
    '',
  ].join('\n');
}
