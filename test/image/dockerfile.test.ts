/** What the Dockerfile says. `image.test.ts` builds it and starts the image. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { prebuiltDockerfile } from '../../bin/relay-bundle/dockerfile.ts';

const root = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const dockerfile = read('relay-task/Dockerfile');
const last = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '));
const instructions = (text: string) =>
  text
    .replace(/\\\n/g, '')
    .split('\n')
    .filter((line) => /^[A-Z]/.test(line));

test('the last stage runs nothing, so that it is built for another platform without emulation', () => {
  expect(instructions(last).map((line) => line.split(' ', 1)[0])).not.toContain('RUN');
  expect(instructions(last).filter((line) => /^(COPY|ADD)/.test(line))).toEqual([
    expect.stringMatching(/^COPY --from=build --chmod=0755 (\/out\/[\w.-]+ )+\/usr\/local\/lib\/edge-flag-relay\/$/),
  ]);
});

test('the build context has what the Dockerfile copies, and nothing else', () => {
  const copied = instructions(dockerfile)
    .filter((line) => /^COPY (?!--from)/.test(line))
    .flatMap((line) => line.split(' ').slice(1, -1));
  const ignored = read('.dockerignore').split('\n');
  expect(
    ignored
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1))
      .sort(),
  ).toEqual(copied.sort());
  expect(ignored.filter((line) => /^[^!#]/.test(line))).toEqual(['*']);
  for (const path of copied) expect([path, existsSync(join(root, path))]).toEqual([path, true]);
});

test('the Dockerfile of the bundled files is the last stage, for the version that was bundled', () => {
  const prebuilt = instructions(prebuiltDockerfile(dockerfile, '1.2.3'));
  expect(prebuilt).toEqual([
    expect.stringMatching(/^ARG BASE=./),
    ...instructions(last)
      .map((line) => line.replace('--from=build ', '').replaceAll('/out/', ''))
      .map((line) => line.replace('VERSION=dev', 'VERSION=1.2.3')),
  ]);
});

test.each([
  ['RUN apt-get update', 'RUN apt-get update'],
  ['COPY --from=build /out/x /x\nCOPY --from=other /y /y', 'COPY --from=other /y /y'],
])('a last stage that needs more than the bundle is refused: %s', (line, message) => {
  expect(() => prebuiltDockerfile(`${dockerfile}${line}\n`, '1.2.3')).toThrow(message);
});

test('a Dockerfile without a last stage on the base image is refused', () => {
  expect(() => prebuiltDockerfile(dockerfile.replaceAll(/^FROM .*BASE.$/gm, 'FROM x'), '1.2.3')).toThrow(
    'a last stage',
  );
});
