/** Where a discovery server is, as people write it. */
import { isIPv6 } from 'node:net';

/** Where servers of this protocol listen: the port of their own, then DNS's. */
export const DEFAULT_PORT = 5300;
export const DEFAULT_SECOND_PORT = 53;

export interface ServerAddress {
  /** A host name or an address, without brackets. */
  readonly host: string;
  /** 1 to 65535: asked first. */
  readonly port: number;
  /** Asked when the first does not answer; 0: none. */
  readonly secondPort: number;
}

const MAX_PORT = 65_535;

const FORMS =
  'expected HOST, HOST:PORT or HOST:PORT,SECOND_PORT, an IPv6 address before a port in brackets ' +
  'such as [2001:db8::1]:5300';

/**
 * Parses `host`, `host:port`, `host:port,second`, the same with an IPv6 address in brackets, or a
 * bare IPv6 address. Without a port: 5300, then 53. Throws a TypeError for what is no string and a
 * RangeError for what is no server; both say what is allowed.
 */
export function parseServer(text: string): ServerAddress {
  if (typeof text !== 'string') {
    throw new TypeError(`Could not parse ${String(text)}: a server is text, ${FORMS}`);
  }
  if (isIPv6(text)) return { host: text, port: DEFAULT_PORT, secondPort: DEFAULT_SECOND_PORT };
  const match = /^(?:\[(?<ip6>[^[\]]*)\]|(?<name>[^:[\],]*))(?::(?<ports>.*))?$/su.exec(text);
  const { ip6, name, ports } = match?.groups ?? {};
  const host = ip6 ?? name;
  if (host === undefined) throw refusal(text, FORMS);
  if (ip6 !== undefined && !isIPv6(ip6)) {
    throw refusal(text, `${JSON.stringify(ip6)} is no IPv6 address; ${FORMS}`);
  }
  if (host === '') throw refusal(text, `the host is empty; ${FORMS}`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly these are refused
  if (/[\s\x00-\x1f\x7f]/u.test(host)) {
    throw refusal(text, `the host has spaces or control characters; ${FORMS}`);
  }
  if (ports === undefined) return { host, port: DEFAULT_PORT, secondPort: DEFAULT_SECOND_PORT };
  const [port, secondPort = 0, more] = ports.split(',').map((part) => parsePort(text, part));
  if (more !== undefined) throw refusal(text, `expected at most two ports; ${FORMS}`);
  return { host, port, secondPort };
}

function parsePort(text: string, part: string): number {
  const port = Number(part);
  if (/^\d{1,5}$/.test(part) && port >= 1 && port <= MAX_PORT) return port;
  throw refusal(text, `the port ${JSON.stringify(part)} is no number from 1 to ${MAX_PORT}`);
}

/** Begins as the original's message does; quoted where that would be hard to read. */
function refusal(text: string, reason: string): RangeError {
  const shown = /^[\x21-\x7e]+$/.test(text) ? text : JSON.stringify(text);
  return new RangeError(`Could not parse ${shown}: ${reason}`);
}
