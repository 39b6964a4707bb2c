/** The Dockerfile for a directory that holds the bundled relay: the last stage of `relay-task/Dockerfile`. */

const HEADER =
  '# The relay on Node.js, without shell or package manager, not running as root. This directory is the whole context:\n' +
  '# docker build -t edge-flag-relay .\n\n';

/** Throws an Error if the Dockerfile has no such stage, or one that needs more than the bundle. */
export function prebuiltDockerfile(dockerfile: string, version: string): string {
  const base = /^ARG BASE=.*\n/m.exec(dockerfile)?.[0];
  const stage = /^FROM \$\{BASE\}\n.*/ms.exec(dockerfile)?.[0];
  if (!base || !stage) throw new Error('relay-task/Dockerfile must have "ARG BASE=…", and a last stage from it');
  const copied = stage
    .replace(/^COPY --from=build (.*)$/gm, (_line, rest: string) => `COPY ${rest.replaceAll('/out/', '')}`)
    .replace(/^ARG VERSION=.*$/m, `ARG VERSION=${version}`);
  const other = /^(?:FROM|RUN|ADD|COPY .*--from=).*$/m.exec(copied.replace(/^FROM .*\n/, ''));
  if (other) throw new Error(`"${other[0]}" in the last stage of relay-task/Dockerfile needs more than the bundle`);
  return `${HEADER}${base}${copied}`;
}
