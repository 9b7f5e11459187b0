import { BlockList, isIP } from 'node:net';

/** Loopback, private and link-local networks (RFC 6890, 2.2). */
const NETWORKS = [
  ['127.0.0.0', 8, 'ipv4'],
  ['10.0.0.0', 8, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'],
  ['192.168.0.0', 16, 'ipv4'],
  ['169.254.0.0', 16, 'ipv4'],
  ['::1', 128, 'ipv6'],
  ['fc00::', 7, 'ipv6'],
  ['fe80::', 10, 'ipv6'],
] as const;

/** An IPv4 address on an IPv6 socket (RFC 4291, 2.5.5.2). */
const MAPPED = /^::ffff:([\d.]+)$/i;

/** Whether an address is of this machine or of a private network. */
export function isPrivateAddress(address: string): boolean {
  const plain = MAPPED.exec(address)?.[1] ?? address;
  const family = isIP(plain);
  if (family === 0) return false;
  const networks = new BlockList();
  for (const [network, prefix, type] of NETWORKS) networks.addSubnet(network, prefix, type);
  return networks.check(plain, family === 6 ? 'ipv6' : 'ipv4');
}
