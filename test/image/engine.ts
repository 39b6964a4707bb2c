/** Builds images with buildah and starts them with runc, without a daemon. Both need root. */
import { type ExecFileException, execFile, execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../support/relay-process.ts';

/** What is missing on this machine; '': nothing. */
export const missing = [
  ...(process.getuid?.() === 0 ? [] : ['root']),
  ...['buildah', 'runc'].filter((program) => spawnSync(program, ['--version']).status !== 0),
].join(', ');

/** The part of an image's configuration that `docker inspect` shows as `Config`. */
export interface ImageConfig {
  readonly User: string;
  readonly Env: readonly string[];
  readonly Entrypoint: readonly string[];
  readonly Cmd: readonly string[] | null;
  readonly WorkingDir: string;
  readonly StopSignal: string;
  readonly ExposedPorts: Readonly<Record<string, object>>;
  readonly Labels: Readonly<Record<string, string>>;
  readonly Healthcheck: { readonly Test: readonly string[] };
}

export interface Container {
  output(): string;
  /** As `docker exec`: by the container's user, with its variables. */
  exec(command: readonly string[]): Promise<{ code: number; output: string }>;
  stop(): void;
  readonly exited: Promise<number | null>;
  close(): Promise<void>;
}

export interface RunOptions {
  /** Behind the entry point. */
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Files of this machine, by their paths in the container; only to be read. */
  readonly files?: Readonly<Record<string, string>>;
  /** `docker run --user`. @default the image's */
  readonly user?: string;
}

export type Engine = ReturnType<typeof createEngine>;

/** Images and containers in a directory of their own. */
export function createEngine() {
  const directory = mkdtempSync(join(tmpdir(), 'image-'));
  const store = ['--root', join(directory, 'store'), '--runroot', join(directory, 'run')];
  const buildah = async (...args: readonly string[]) => {
    const { stdout } = await promisify(execFile)('buildah', [...store, ...args], {
      ...{ cwd: root, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 },
    });
    return stdout.trim();
  };

  /** Mounts the files of an image, or of none. They may be changed; the image stays. */
  async function mounted(image: string, ...options: readonly string[]) {
    const name = await buildah('from', '--pull-never', ...options, image);
    return { name, path: await buildah('mount', name) };
  }

  /** An image with these files. */
  async function commit(
    tag: string,
    fill: (path: string) => void,
    { arch = 'amd64', config = [] }: { readonly arch?: string; readonly config?: readonly string[] } = {},
  ): Promise<string> {
    const { name, path } = await mounted('scratch', '--arch', arch);
    fill(path);
    await buildah('config', '--arch', arch, ...config, name);
    await buildah('commit', '--quiet', '--rm', name, tag);
    return tag;
  }

  return {
    buildah,
    mounted,
    commit,

    /** `docker build`: the tag. */
    async build(tag: string, context: string, ...options: readonly string[]): Promise<string> {
      // The OCI format has no health checks.
      await buildah('bud', '--isolation', 'chroot', '--format', 'docker', '--tag', tag, ...options, context);
      return tag;
    },

    async inspect(image: string): Promise<{ architecture: string; config: ImageConfig }> {
      const { Docker } = JSON.parse(await buildah('inspect', '--type', 'image', image));
      return Docker;
    },

    /** `docker run --read-only --cap-drop ALL --security-opt no-new-privileges --network host`. */
    async run(image: string, { args = [], env = {}, files = {}, user }: RunOptions): Promise<Container> {
      const { config } = (await this.inspect(image)) as { config: ImageConfig };
      const { name, path } = await mounted(image);
      const id = `edge-flag-relay-${randomUUID()}`;
      const bundle = join(directory, id);
      mkdirSync(bundle);
      const [uid, gid] = (user ?? config.User).split(':').map(Number);
      execFileSync('runc', ['spec', '--bundle', bundle]);
      const spec = JSON.parse(execFileSync('cat', [join(bundle, 'config.json')], { encoding: 'utf8' }));
      const none = { bounding: [], effective: [], inheritable: [], permitted: [], ambient: [] };
      Object.assign(spec.process, {
        ...{
          terminal: false,
          user: { uid, gid },
          cwd: config.WorkingDir || '/',
          noNewPrivileges: true,
          capabilities: none,
        },
        args: [...config.Entrypoint, ...(args.length > 0 ? args : (config.Cmd ?? []))],
        env: [...config.Env, ...Object.entries(env).map((pair) => pair.join('='))],
      });
      spec.root = { path, readonly: true };
      for (const [destination, source] of Object.entries(files)) {
        spec.mounts.push({ destination, source, type: 'bind', options: ['bind', 'ro'] });
      }
      // The host's, as all that a test needs is on its loopback interface.
      spec.linux.namespaces = spec.linux.namespaces.filter(({ type }: { type: string }) => type !== 'network');
      writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
      const child = spawn('runc', ['run', '--bundle', bundle, id], { stdio: ['ignore', 'pipe', 'pipe'] });
      let output = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.on('data', (chunk: Buffer) => {
          output += chunk.toString();
        });
      }
      const exited = new Promise<number | null>((resolve) => child.once('close', resolve));
      return {
        output: () => output,
        exited,
        exec: (command) =>
          new Promise((resolve) => {
            execFile('runc', ['exec', id, ...command], (error: ExecFileException | null, stdout, stderr) =>
              resolve({ code: Number(error?.code ?? 0), output: stdout + stderr }),
            );
          }),
        stop() {
          execFileSync('runc', ['kill', id, config.StopSignal]);
        },
        async close() {
          spawnSync('runc', ['delete', '--force', id]);
          await exited;
          await buildah('rm', name);
        },
      };
    },

    async close(): Promise<void> {
      await buildah('rm', '--all');
      await buildah('rmi', '--all', '--force');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Copies a program with the libraries that it is linked to. */
export function copyProgram(program: string, path: string, to: string): void {
  const libraries = spawnSync('ldd', [program], { encoding: 'utf8' }).stdout.match(/\/\S+/g) ?? [];
  for (const [from, into] of [[program, to], ...libraries.map((library) => [library, library])] as [string, string][]) {
    const target = join(path, into);
    if (existsSync(target)) continue;
    mkdirSync(dirname(target), { recursive: true });
    cpSync(from, target, { dereference: true });
  }
}
