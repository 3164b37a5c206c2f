/** The machine's network interfaces as multicast needs them: where to join, who is on the link. */
import { isIPv4, isIPv6 } from 'node:net';
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os';
import { ADDRESS_BYTES, writeAddress } from '../ip-address.ts';

/** As os.networkInterfaces: those that are up. Tests replace it. */
export type ListInterfaces = () => NodeJS.Dict<readonly NetworkInterfaceInfo[]>;

/** Interfaces looked at: more than a host has, and a bound for what is done on each of them. */
const MAX_INTERFACES = 256;
/** Bits before an IPv4 address in its 16 bytes. */
const MAPPED_BITS = 96;
const MAX_NAME_CHARACTERS = 255;

export interface InterfaceAddress {
  /** Without a scope. */
  readonly text: string;
  readonly family: 4 | 6;
  /** IPv4 as v4-mapped. */
  readonly bytes: Uint8Array;
  /** Of the 128. */
  readonly prefixBits: number;
}

export interface NetInterface {
  readonly name: string;
  readonly isInternal: boolean;
  /** Its number, where an IPv6 address tells it; 0: unknown. */
  readonly index: number;
  readonly mac: string;
  readonly addresses: readonly InterfaceAddress[];
}

/** One family on one interface: what a socket joins, and sends by. */
export interface MulticastLink {
  readonly family: 4 | 6;
  readonly name: string;
  /** What addMembership and setMulticastInterface take: `10.0.0.5`, or `::%eth0`. */
  readonly local: string;
  /** Changes with whatever makes a membership void: another address, another device. */
  readonly key: string;
  /** Joined, but only sent on when there is no other: loopback. */
  readonly isSpare: boolean;
}

/** The interfaces of this machine; none where the system does not tell. */
export function readInterfaces(list: ListInterfaces = networkInterfaces): NetInterface[] {
  let found: ReturnType<ListInterfaces>;
  try {
    found = list();
  } catch {
    // Some sandboxes forbid to ask.
    return [];
  }
  return Object.entries(found)
    .slice(0, MAX_INTERFACES)
    .map(([name, infos = []]) => ({
      name,
      isInternal: infos.some((info) => info.internal),
      index: infos.find((info) => info.family === 'IPv6' && info.scopeid > 0)?.scopeid ?? 0,
      mac: infos[0]?.mac ?? '',
      addresses: infos.map(readAddress).filter((address) => address !== null),
    }));
}

/**
 * Where to join: every interface that is up (`chosen` null), or those chosen, each by its name
 * (both families) or by one of its addresses (the family of that). What is chosen may come later.
 */
export function chooseLinks(
  interfaces: readonly NetInterface[],
  chosen: readonly string[] | null,
): MulticastLink[] {
  const links: MulticastLink[] = [];
  for (const face of interfaces) {
    const allowed = (address: InterfaceAddress): boolean =>
      chosen === null || chosen.some((one) => one === face.name || isSame(address, one));
    const four = face.addresses.find((address) => address.family === 4 && allowed(address));
    // Loopback has no route for IPv6 groups; IPv4 ones are sent there as anywhere.
    const six = face.addresses.find(
      (address) => address.family === 6 && !face.isInternal && allowed(address),
    );
    const device = `${face.name} ${face.mac} ${face.index}`;
    const isSpare = chosen === null && face.isInternal;
    if (four !== undefined) {
      const { text } = four;
      links.push({ family: 4, name: face.name, local: text, key: `${device} ${text}`, isSpare });
    }
    if (six !== undefined) {
      // Windows wants the number of the interface.
      const scope = process.platform === 'win32' ? face.index : face.name;
      const key = `${device} v6`;
      links.push({ family: 6, name: face.name, local: `::%${scope}`, key, isSpare });
    }
  }
  return links;
}

/**
 * The interface on whose network `address` is: by its scope (`fe80::1%eth0`), or by the longest
 * prefix. Null: none of them, or it cannot be told.
 */
export function interfaceOf(
  interfaces: readonly NetInterface[],
  address: string,
): NetInterface | null {
  const [text, scope] = splitScope(address);
  if (scope !== '') {
    const named = interfaces.find((face) => face.name === scope || String(face.index) === scope);
    return named ?? null;
  }
  const bytes = addressBytes(text);
  if (bytes === null) return null;
  let best: NetInterface | null = null;
  let bestBits = -1;
  for (const face of interfaces) {
    for (const own of face.addresses) {
      if (own.prefixBits <= bestBits || !hasPrefix(bytes, own)) continue;
      best = face;
      bestBits = own.prefixBits;
    }
  }
  return best;
}

/**
 * Whether `address` is of a network this machine is on (RFC 6762 section 11): what comes from
 * elsewhere to the multicast port was sent there by unicast, by somebody who is not on the link.
 * With `links`, only of networks of these: interfaces were chosen, the others are not used.
 * Of two interfaces with the same network, one of `links` counts.
 */
export function isOnLink(
  interfaces: readonly NetInterface[],
  address: string,
  links: readonly MulticastLink[] | null = null,
): boolean {
  const family = address.includes(':') ? 6 : 4;
  const isUsed = ({ name }: NetInterface): boolean =>
    links === null || links.some((link) => link.name === name && link.family === family);
  const ordered = [...interfaces.filter(isUsed), ...interfaces.filter((face) => !isUsed(face))];
  const face = interfaceOf(ordered, address);
  if (face !== null) return isUsed(face);
  // Of some link: a scope that is not known may be that of an interface that has just come up.
  const isKnownElsewhere = links !== null && address.includes('%');
  return !isKnownElsewhere && (address.startsWith('169.254.') || /^fe[89ab]/i.test(address));
}

/** Whether `address` is one of this machine's. */
export function isOwnAddress(interfaces: readonly NetInterface[], address: string): boolean {
  const [text] = splitScope(address);
  const bytes = addressBytes(text);
  if (bytes === null) return false;
  return interfaces.some((face) => face.addresses.some((own) => equal(own.bytes, bytes)));
}

/**
 * What is wrong with a choice of interface, or null. Only what can be neither a name nor an address
 * is wrong: an interface may come later.
 */
export function interfaceProblem(chosen: string): string | null {
  const allowed = 'expected the name of an interface (eth0) or one of its addresses (192.0.2.1)';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly these are refused
  const noName = chosen === '' || /[\x00-\x1f\x7f/]/.test(chosen);
  const likeAddress = /^[\d.]+$/.test(chosen) || /^[\da-f.]*:[\da-f:.]*:[\da-f:.]*$/i.test(chosen);
  const isAddress = isIPv4(chosen) || isIPv6(chosen);
  const isWrong = noName || chosen.length > MAX_NAME_CHARACTERS || (likeAddress && !isAddress);
  return isWrong ? `interface ${JSON.stringify(chosen.slice(0, 80))}: ${allowed}` : null;
}

function readAddress(info: NetworkInterfaceInfo): InterfaceAddress | null {
  const [text] = splitScope(info.address);
  const bytes = addressBytes(text);
  if (bytes === null) return null;
  const bits = Number(/\/(\d{1,3})$/.exec(info.cidr ?? '')?.[1] ?? 128);
  const family = info.family === 'IPv4' ? 4 : 6;
  const prefixBits = Math.min(128, family === 4 ? bits + MAPPED_BITS : bits);
  return { text, family, bytes, prefixBits };
}

function isSame(address: InterfaceAddress, chosen: string): boolean {
  const bytes = addressBytes(splitScope(chosen)[0]);
  return bytes !== null && equal(bytes, address.bytes);
}

function addressBytes(text: string): Uint8Array | null {
  if (!isIPv4(text) && !isIPv6(text)) return null;
  const bytes = new Uint8Array(ADDRESS_BYTES);
  writeAddress(text, bytes, 0);
  return bytes;
}

function splitScope(address: string): [string, string] {
  const at = address.indexOf('%');
  return at < 0 ? [address, ''] : [address.slice(0, at), address.slice(at + 1)];
}

function hasPrefix(bytes: Uint8Array, own: InterfaceAddress): boolean {
  const whole = own.prefixBits >> 3;
  for (let i = 0; i < whole; i++) if (bytes[i] !== own.bytes[i]) return false;
  const rest = own.prefixBits & 7;
  return rest === 0 || (bytes[whole] ^ own.bytes[whole]) >> (8 - rest) === 0;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < ADDRESS_BYTES; i++) if (a[i] !== b[i]) return false;
  return true;
}
