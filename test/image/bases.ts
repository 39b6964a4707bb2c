/**
 * Stand-ins for the base images, made from this machine's own Node.js, because a registry of images is not always within reach.
 * They have what the Dockerfile relies on, at the same paths.
 */
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { copyProgram, type Engine } from './engine.ts';

const text = (...command: [string, ...string[]]) =>
  execFileSync(command[0], command.slice(1), { encoding: 'utf8' }).trim();

/** Distroless's image of Node.js: no shell, a user without a name here, whose home nobody else may enter. */
export function distroless(engine: Engine): Promise<string> {
  const fill = (path: string) => {
    copyProgram(process.execPath, path, '/nodejs/bin/node');
    const home = join(path, 'home/nonroot');
    mkdirSync(home, { recursive: true });
    chownSync(home, 65_532, 65_532);
    chmodSync(home, 0o700);
    for (const empty of ['tmp', 'proc', 'dev', 'sys', 'etc']) mkdirSync(join(path, empty), { recursive: true });
  };
  const config = ['--user', '65532', '--workingdir', '/home/nonroot', '--entrypoint', '["/nodejs/bin/node"]'];
  return engine.commit('localhost/distroless', fill, { config: [...config, '--env', 'PATH=/usr/bin:/bin'] });
}

/** Docker's image of Node.js: with a shell and npm. */
export function nodeSlim(engine: Engine): Promise<string> {
  const certificates = process.env.NODE_EXTRA_CA_CERTS ?? '/etc/ssl/certs/ca-certificates.crt';
  const fill = (path: string) => {
    for (const program of ['sh', 'env']) copyProgram(realpathSync(`/usr/bin/${program}`), path, `/usr/bin/${program}`);
    copyProgram(process.execPath, path, '/usr/bin/node');
    const npm = join(text('npm', 'root', '--global'), 'npm');
    cpSync(npm, join(path, 'usr/lib/node_modules/npm'), { recursive: true });
    for (const name of ['npm', 'npx']) {
      symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(path, 'usr/bin', name));
    }
    if (!existsSync(join(path, 'bin'))) symlinkSync('usr/bin', join(path, 'bin'));
    for (const folder of ['tmp', 'root', 'etc', 'proc', 'dev', 'sys'])
      mkdirSync(join(path, folder), { recursive: true });
    writeFileSync(join(path, 'etc/passwd'), 'root:x:0:0:root:/root:/bin/sh\n');
    if (!existsSync(certificates)) return;
    mkdirSync(join(path, dirname(certificates)), { recursive: true });
    cpSync(certificates, join(path, certificates), { dereference: true });
  };
  const env = {
    ...{ PATH: '/usr/bin:/bin', npm_config_registry: text('npm', 'config', 'get', 'registry') },
    // What this machine has downloaded for its own node_modules is not downloaded again.
    ...{ npm_config_prefer_offline: 'true', npm_config_update_notifier: 'false' },
    ...(existsSync(certificates) && { NODE_EXTRA_CA_CERTS: certificates }),
  };
  const config = Object.entries(env).flatMap((pair) => ['--env', pair.join('=')]);
  return engine.commit('localhost/node-slim', fill, { config });
}

/** npm's cache of this machine, at its place in the image that builds. */
export const npmCache = () => `${text('npm', 'config', 'get', 'cache')}:/root/.npm`;
