import { BlockList, isIP } from 'node:net';

/**
 * Parses NO_PROXY as Go programs such as ld-relay do: names including subdomains, `.example.com` for subdomains only,
 * addresses, networks (`10.0.0.0/8`), each optionally with a port, and `*`. Invalid entries match nothing.
 * See https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config.
 */
export function parseNoProxy(text: string): (url: URL) => boolean {
  const rules = text.split(',').flatMap((entry) => {
    const rule = parseRule(entry.trim().toLowerCase());
    return rule ? [rule] : [];
  });
  return (url) => {
    const host = hostOf(url);
    const port = url.port || (url.protocol === 'https:' ? '443' : '80');
    return isLoopback(host) || rules.some((rule) => rule(host, port));
  };
}

type Rule = (host: string, port: string) => boolean;

function parseRule(entry: string): Rule | undefined {
  if (entry === '') return undefined;
  if (entry === '*') return () => true;
  const [, address, bits] = /^\[?([^\]/]+)\]?\/(\d+)$/.exec(entry) ?? [];
  if (address !== undefined) return networkRule(address, Number(bits));
  const [, bracketed, plain, wantedPort] = /^(?:\[(.+)\]|([^:]+|.*:.*:.*?))(?::(\d+))?$/.exec(entry) ?? [];
  const wanted = bracketed ?? plain ?? '';
  const portFits = (port: string) => wantedPort === undefined || wantedPort === port;
  if (isIP(wanted)) {
    const sameAddress = networkRule(wanted, isIP(wanted) === 6 ? 128 : 32);
    return (host, port) => portFits(port) && (sameAddress?.(host, port) ?? false);
  }
  const suffix = wanted.replace(/^\*\./, '.');
  if (suffix === '' || suffix === '.') return undefined;
  if (suffix.startsWith('.')) return (host, port) => portFits(port) && host.endsWith(suffix);
  return (host, port) => portFits(port) && (host === suffix || host.endsWith(`.${suffix}`));
}

function networkRule(address: string, bits: number): Rule | undefined {
  const family = isIP(address);
  if (family === 0 || bits > (family === 6 ? 128 : 32)) return undefined;
  const list = new BlockList();
  list.addSubnet(address, bits, family === 6 ? 'ipv6' : 'ipv4');
  return (host) => isIP(host) !== 0 && list.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4');
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

function hostOf(url: URL): string {
  return url.hostname
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase();
}
