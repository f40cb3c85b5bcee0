/**
 * Which HTTP proxy an origin is reached through: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`, in either case, as Go's
 * tools (skopeo, podman, docker) read them. Source: Go `golang.org/x/net/http/httpproxy`, `Config`.
 */
import { BlockList, isIP } from 'node:net';
import { type Environment, lookUp } from './environment.ts';

/** Returns a function from an origin (`https://host:port`) to a proxy's URL, or undefined to go straight. */
export function proxyRule(environment: Environment): (origin: string) => string | undefined {
  const secure = lookUp(environment, ['HTTPS_PROXY', 'https_proxy']);
  const plain = lookUp(environment, ['HTTP_PROXY', 'http_proxy']);
  const bypass = parseBypass(lookUp(environment, ['NO_PROXY', 'no_proxy']) ?? '');
  return (origin) => {
    const url = new URL(origin);
    const proxy = url.protocol === 'https:' ? secure : plain;
    if (proxy === undefined || bypass(url)) return undefined;
    return proxy.includes('://') ? proxy : `http://${proxy}`;
  };
}

function parseBypass(list: string): (url: URL) => boolean {
  const networks = new BlockList();
  networks.addSubnet('127.0.0.0', 8);
  networks.addAddress('::1', 'ipv6');
  const names: { host: string; port: string | undefined; below: boolean; itself: boolean }[] = [];
  let all = false;
  for (const entry of list.split(',').map((text) => text.trim().toLowerCase())) {
    const subnet = /^(.+)\/(\d{1,3})$/.exec(entry);
    if (entry === '*') all = true;
    else if (subnet !== null && isIP(subnet[1] as string) !== 0) addSubnet(networks, subnet[1] as string, Number(subnet[2]));
    else if (isIP(entry) !== 0) networks.addAddress(entry, isIP(entry) === 6 ? 'ipv6' : 'ipv4');
    else if (entry !== '') {
      const [, name, port] = /^(.*?)(?::(\d+))?$/.exec(entry) as unknown as [string, string, string | undefined];
      const host = name.replace(/^\*?\./, '');
      // `.example.com` stands for what is below it only.
      names.push({ host, port, below: isIP(host) === 0, itself: host === name });
    }
  }
  return (url) => {
    const host = url.hostname.toLowerCase().replace(/^\[(.*)\]$/, '$1');
    if (all || host === 'localhost') return true;
    const version = isIP(host);
    if (version !== 0 && networks.check(host, version === 6 ? 'ipv6' : 'ipv4')) return true;
    const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
    return names.some(
      (name) => (name.port === undefined || name.port === port) && ((name.itself && host === name.host) || (name.below && host.endsWith(`.${name.host}`))),
    );
  };
}

function addSubnet(networks: BlockList, address: string, prefix: number): void {
  const version = isIP(address);
  // A network that cannot be is no reason to stop: Go drops it too.
  if (prefix <= (version === 6 ? 128 : 32)) networks.addSubnet(address, prefix, version === 6 ? 'ipv6' : 'ipv4');
}
