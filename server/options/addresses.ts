/** Where to listen: `ADDR:PORT[,...]` or `off`, the form of every listener option. */
import { isIP, isIPv4, isIPv6 } from 'node:net';
import type { z } from 'zod';
import type { ListenAddress } from './config.ts';
import { quote, Refusal, readAs } from './option.ts';

export const MAX_PORT = 65_535;

/** Each address is a socket with buffers of its own. */
export const MAX_LISTEN_ADDRESSES = 64;

const FORM = 'expected ADDR:PORT such as 192.0.2.1:5300, [2001:db8::1]:5300 or :5300';

/** A listener option: comma-separated addresses, or `off`. A bare port means all addresses. */
export function listenAddresses(): z.ZodType<readonly ListenAddress[] | 'off', string> {
  return readAs((text) => {
    if (text === 'off') return 'off';
    const addresses: ListenAddress[] = [];
    for (const part of text.split(',')) {
      const parsed = parseListenAddress(part.trim());
      if (parsed instanceof Refusal) return parsed;
      addresses.push(...parsed);
    }
    return withoutRepeats(addresses);
  });
}

/** Comma-separated ports. */
export function portList(): z.ZodType<readonly number[], string> {
  return readAs((text) => {
    const ports: number[] = [];
    for (const part of text.split(',')) {
      const port = parsePort(part.trim());
      if (port === null) return new Refusal(`expected ports from 0 to ${MAX_PORT}`);
      ports.push(port);
    }
    const addresses = withoutRepeats(ports.flatMap(allAddresses));
    return addresses instanceof Refusal ? addresses : ports;
  });
}

/** One IP address, brackets around an IPv6 one allowed; null when none was given. */
export function bindAddress(): z.ZodType<string | null, string> {
  return readAs((text) => {
    const address = text.replace(/^\[(.*)\]$/, '$1');
    if (isIP(address) !== 0) return address;
    return new Refusal('expected an IP address such as 127.0.0.1 or ::1');
  });
}

/** Both wildcard addresses, for a port given without one. */
export function allAddresses(port: number): ListenAddress[] {
  return [
    { address: '0.0.0.0', port },
    { address: '::', port, ifIpv6: true },
  ];
}

/** `127.0.0.1:53`, `[::1]:53`: an address as people and the flags write it. */
export function formatEndpoint({ address, port }: { address: string; port: number }): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function parseListenAddress(text: string): ListenAddress[] | Refusal {
  if (isIP(text) !== 0) return new Refusal(`${quote(text)} has no port: ${FORM}`);
  const match = /^(?:(\[[^\]]*\]|[^:[\]]*):)?([^:]*)$/.exec(text);
  if (match === null) return new Refusal(`${quote(text)}: ${FORM}`);
  const host = match[1] ?? '';
  const port = parsePort(match[2] ?? '');
  if (port === null) return new Refusal(`${quote(text)}: the port is a number, 0 to ${MAX_PORT}`);
  if (host === '') return allAddresses(port);
  const address = host.startsWith('[') ? host.slice(1, -1) : host;
  const right = host.startsWith('[') ? isIPv6(address) : isIPv4(address);
  if (right) return [{ address, port }];
  return new Refusal(`${quote(host)} is not an IP address (names are not resolved): ${FORM}`);
}

function parsePort(text: string): number | null {
  const port = Number(text);
  return /^\d{1,5}$/.test(text) && port <= MAX_PORT ? port : null;
}

/** Port 0 may be asked for several times: each gets a port of its own. */
function withoutRepeats(addresses: ListenAddress[]): ListenAddress[] | Refusal {
  if (addresses.length > MAX_LISTEN_ADDRESSES) {
    return new Refusal(`expected at most ${MAX_LISTEN_ADDRESSES} addresses`);
  }
  const seen = new Set<string>();
  for (const address of addresses) {
    const text = formatEndpoint(address);
    if (address.port !== 0 && seen.has(text)) return new Refusal(`${text} is named twice`);
    seen.add(text);
  }
  return addresses;
}
