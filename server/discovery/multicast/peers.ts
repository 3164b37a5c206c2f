/** Peers out of records that came by multicast, in the form of npm dns-packet. Never throws. */
import { isIP } from 'node:net';
import { PEER4_BYTES, PEER6_BYTES } from '../../../codecs/dns/constants.ts';
import { formatAddress } from '../../net/ip-address.ts';
import type { Peer } from '../types.ts';

/** Whom a message came from. */
export interface Sender {
  readonly address: string;
  readonly port: number;
}

const TOKEN = Buffer.from('token=');
const PEERS4 = Buffer.from('peers=');
const PEERS6 = Buffer.from('peers6=');

/** The strings of a TXT record's data, whatever shape dns-packet or a stand-in for it gives. */
function stringsOf(data: unknown): Buffer[] {
  const list: unknown[] = Array.isArray(data) ? data : [data];
  return list.flatMap((item) => {
    if (typeof item === 'string') return [Buffer.from(item)];
    if (Buffer.isBuffer(item)) return [item];
    return item instanceof Uint8Array ? [Buffer.from(item)] : [];
  });
}

/** The `token=` of a TXT record, or null. */
export function tokenOf(data: unknown): string | null {
  const found = stringsOf(data).findLast((text) => startsWith(text, TOKEN));
  return found?.toString('latin1', TOKEN.length) ?? null;
}

/**
 * The peers of a TXT record: of all `peers=` and `peers6=` strings, at most `most`. Address 0 is
 * the sender's own; a port of 0 is nobody's.
 */
export function txtPeers(data: unknown, from: Sender, most: number): Peer[] {
  const peers: Peer[] = [];
  for (const text of stringsOf(data)) {
    const four = startsWith(text, PEERS4);
    if (!four && !startsWith(text, PEERS6)) continue;
    const size = four ? PEER4_BYTES : PEER6_BYTES;
    const key = four ? PEERS4 : PEERS6;
    const bytes = Buffer.from(text.toString('latin1', key.length), 'base64');
    for (let at = 0; at + size <= bytes.length && peers.length < most; at += size) {
      const port = bytes.readUInt16BE(at + size - 2);
      if (port === 0) continue;
      peers.push({ port, host: hostAt(bytes, at, size - 2) ?? from.address });
    }
  }
  return peers;
}

/**
 * The peer of an SRV record: target 0.0.0.0 is the sender's address, port 0 the sender's port. Null
 * when the target is no address.
 */
export function srvPeer(data: unknown, from: Sender): Peer | null {
  if (typeof data !== 'object' || data === null) return null;
  const { target, port } = data as { readonly target?: unknown; readonly port?: unknown };
  if (typeof target !== 'string' || isIP(target) === 0) return null;
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 0 || port > 0xffff) return null;
  const isSender = target === '0.0.0.0' || target === '::';
  return { port: port === 0 ? from.port : port, host: isSender ? from.address : target };
}

/** The address in text; null for the one that stands for the sender's. */
function hostAt(bytes: Buffer, at: number, size: number): string | null {
  const address = bytes.subarray(at, at + size);
  if (address.every((byte) => byte === 0)) return null;
  return size === 4 ? address.join('.') : formatAddress(address, 0);
}

function startsWith(text: Buffer, key: Buffer): boolean {
  if (text.length < key.length) return false;
  for (let i = 0; i < key.length; i++) if (text[i] !== key[i]) return false;
  return true;
}
