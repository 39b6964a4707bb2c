/** Names and licences of the packages whose code a bundle contains, which most of their licences require to go with it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Metafile } from 'esbuild';

export const NOTICES_FILE = 'THIRD-PARTY-NOTICES.txt';

/** The oldest packages have their licence in an object or a list. */
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly license?: string | { readonly type?: string };
  readonly licenses?: readonly { readonly type?: string }[];
  readonly author?: string | { readonly name?: string };
  readonly homepage?: string;
}

/**
 * Licences, by their SPDX identifiers, under which code may be part of ours, and whether their text must go with it. For
 * another one somebody has to decide.
 */
const PERMITTED: Readonly<Record<string, 'with its text' | 'without'>> = {
  '0BSD': 'without',
  'Apache-2.0': 'with its text',
  'BSD-2-Clause': 'with its text',
  'BSD-3-Clause': 'with its text',
  'BlueOak-1.0.0': 'with its text',
  'CC0-1.0': 'without',
  ISC: 'with its text',
  MIT: 'with its text',
  'MIT-0': 'without',
  Unlicense: 'without',
};

/** The folders of packages with code in the bundle, relative to the repository's root, sorted. */
export function bundledPackages({ outputs }: Metafile): string[] {
  const files = Object.values(outputs).flatMap(({ inputs }) =>
    Object.entries(inputs).flatMap(([file, { bytesInOutput }]) => (bytesInOutput > 0 ? [file] : [])),
  );
  // The last node_modules counts: packages are nested where versions differ.
  const folders = files.flatMap((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+(?=\/)/.exec(file) ?? []);
  return [...new Set(folders)].sort();
}

/** `root`: the folder that the bundle's paths are relative to. */
export function manifestOf(root: string, folder: string): Manifest {
  return JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8')) as Manifest;
}

/** Throws an Error for a package that names no licence, one that is not permitted, or one whose text is nowhere to be had. */
export function noticesOf(metafile: Metafile, root: string): string {
  const packages = bundledPackages(metafile).map((folder) => {
    const manifest = manifestOf(root, folder);
    return { manifest, license: licenceOf(manifest), texts: textsIn(join(root, folder)) };
  });
  const apache = packages.flatMap(({ texts }) => texts).find((text) => /Apache License\s+Version 2\.0/.test(text));
  const headsOf = new Map<string, string[]>();
  for (const { manifest, license, texts } of packages) {
    const text = texts.length > 0 ? texts.join('\n\n') : standardText(manifest, license, apache);
    const author = authorOf(manifest);
    const head = `${manifest.name} ${manifest.version} (${license})`;
    const line = [head, author && `by ${author}`, manifest.homepage].filter(Boolean).join(', ');
    headsOf.set(text, [...(headsOf.get(text) ?? []), line]);
  }
  // Packages of one project have the same text, which is long.
  const notices = [...headsOf].map(([text, heads]) => `${'='.repeat(80)}\n${heads.join('\n')}\n\n${text}\n`);
  return `This program contains the following packages.\n\n${notices.join('\n')}`;
}

/** An SPDX expression. */
function licenceOf({ name, version, license, licenses = [] }: Manifest): string {
  const named = typeof license === 'string' ? license : license?.type;
  const expression = named || licenses.flatMap(({ type }) => type ?? []).join(' OR ');
  if (!expression) throw new Error(`${name}@${version} names no licence: find out which it has before bundling it`);
  const choices = expression.replace(/[()]/g, '').split(' OR ');
  const mixed = choices.length > 1 && expression.includes(' AND ');
  const permitted = choices.some((choice) => choice.split(' AND ').every((id) => Object.hasOwn(PERMITTED, id)));
  if (mixed || !permitted) {
    throw new Error(
      `${name}@${version} has the licence ${expression}: add it to bin/third-party-notices.ts if it may be bundled`,
    );
  }
  return expression;
}

function authorOf({ author }: Manifest): string | undefined {
  return typeof author === 'string' ? author : author?.name;
}

/** The package's own files, or else the section of its README. */
function textsIn(folder: string): string[] {
  // Some packages have a folder of licences.
  const files = readdirSync(folder, { withFileTypes: true })
    .flatMap((one) => {
      if (one.isFile()) return one.name;
      const within = one.isDirectory() && /^licen[cs]es?$/i.test(one.name) ? readdirSync(join(folder, one.name)) : [];
      return within.map((name) => join(one.name, name));
    })
    .sort();
  const read = (file: string) => readFileSync(join(folder, file), 'utf8').trim();
  const texts = files
    .filter((file) => /^(licen[cs]e|copying|notice|third.?party)(?!.*\.[cm]?[jt]s(on)?$)/i.test(file))
    .map(read)
    .filter((text) => text !== '');
  if (texts.length > 0) return texts;
  const readme = files.find((file) => /^readme/i.test(file));
  const [, section = ''] = (readme && read(readme).split(/^#+ .*licen[cs]e.*$/im, 2)) || [];
  const text = section.split(/^#/m, 1)[0]?.trim() ?? '';
  return /permission is hereby granted|redistribution and use/i.test(text) ? [text] : [];
}

/** For a package that contains no text. */
function standardText(manifest: Manifest, license: string, apache: string | undefined): string {
  const where = `see https://spdx.org/licenses/${license}`;
  if (PERMITTED[license] === 'without') return `The package contains no licence text: ${where}`;
  // Its text is the same for everybody.
  if (license === 'Apache-2.0' && apache) return apache;
  if (license === 'MIT') return MIT.replace('<holder>', authorOf(manifest) ?? `the authors of ${manifest.name}`);
  throw new Error(
    `${manifest.name}@${manifest.version} contains no text of its licence ${license}, which must go with its code: ${where}`,
  );
}

/** As on spdx.org. */
const MIT = `MIT License

Copyright (c) <holder>

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation
files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy,
modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE,
ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.`;
