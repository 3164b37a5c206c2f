/** A server's push, as a subscriber reads it; push.ts writes one. */
import { canonicalAddress, MAX_ADDRESS_TEXT_BYTES } from './address-text.ts';
import {
  CLASS,
  FLAG_QR,
  HEADER_BYTES,
  HEADER_FLAGS,
  HEADER_QDCOUNT,
  MAX_NAME_BYTES,
  TYPE,
} from './constants.ts';
import { expandName, MAX_MESSAGE_BYTES, OPCODE_BITS, RecordWalk } from './message-walk.ts';
import { FOLD, FoldedName, skipName } from './name.ts';
import type { PeerAddress } from './peer-strings.ts';
import { readU16, SRV_FIXED_BYTES } from './wire.ts';

/** SRV records of one push that are looked at: the original sends one. */
export const MAX_PUSHED_SERVICES = 16;

export interface PushedService {
  /**
   * The name without the domain as `encodeName` takes it, case as sent; what is not printable ASCII
   * is escaped.
   */
  readonly name: string;
  /** `nameKey` of the whole name. */
  readonly key: string;
  /** Port 0 and host 0.0.0.0 stand for those of the datagram. */
  readonly peer: PeerAddress;
}

/** A server tells of new peers. */
export interface Push {
  readonly id: number;
  /** 1 to MAX_PUSHED_SERVICES. */
  readonly services: readonly PushedService[];
}

const DOT = 0x2e;
/** Each byte of a label as RFC 1035 5.1 writes it. */
const CHARACTERS = Array.from({ length: 256 }, (_, byte) => {
  const character = String.fromCharCode(byte);
  if (character === '.' || character === '\\') return `\\${character}`;
  return byte > 0x20 && byte < 0x7f ? character : `\\${String(byte).padStart(3, '0')}`;
});

const under = new FoldedName();
const expanded = new Uint8Array(MAX_NAME_BYTES);
/** An address as a name: a label takes a byte more than its text, the root another. */
const targetName = new Uint8Array(MAX_ADDRESS_TEXT_BYTES + 2);

/**
 * Reads a push: a query without a question, whose answers and additionals are SRV records of names
 * under `domain` (wire form with the root), ASCII case aside. The target is an address: four labels
 * of an IPv4 one, or a single label that holds an IPv6 one; others are left out. Of the SRV records
 * the first MAX_PUSHED_SERVICES are looked at. Null when it is malformed or tells of nothing.
 */
export function readPush(bytes: Uint8Array, domain: Uint8Array): Push | null {
  if (bytes.length < HEADER_BYTES || bytes.length > MAX_MESSAGE_BYTES) return null;
  if ((readU16(bytes, HEADER_FLAGS) & (FLAG_QR | OPCODE_BITS)) !== 0) return null;
  if (readU16(bytes, HEADER_QDCOUNT) !== 0) return null;
  if (under.read(domain, 0, domain.length) !== domain.length) return null;
  const walk = new RecordWalk(bytes, HEADER_BYTES);
  while (walk.next());
  if (walk.isMalformed) return null;
  const services = readServices(bytes);
  return services.length === 0 ? null : { id: readU16(bytes, 0), services };
}

function readServices(bytes: Uint8Array): PushedService[] {
  const services: PushedService[] = [];
  const walk = new RecordWalk(bytes, HEADER_BYTES);
  let looked = 0;
  while (looked < MAX_PUSHED_SERVICES && walk.next()) {
    if (walk.type !== TYPE.SRV || walk.klass !== CLASS.IN) continue;
    if (!walk.isAnswer && !walk.isAdditional) continue;
    looked++;
    const length = expandName(bytes, walk.owner, expanded);
    const end = idEnd(length);
    if (end <= 0) continue;
    const host = readTarget(bytes, walk);
    if (host === null) continue;
    const port = readU16(bytes, walk.rdata + 4);
    services.push({ name: nameText(end), key: keyOf(expanded, length), peer: { port, host } });
  }
  return services;
}

/**
 * Where in the name of `length` bytes in `expanded` the id part ends and the domain in `under`
 * begins; 0 when it is the domain itself, -1 when it is not under it.
 */
function idEnd(length: number): number {
  const suffix = length - 1 - under.end;
  let at = 0;
  while (at < suffix) at += 1 + expanded[at];
  if (at !== suffix) return -1;
  for (let i = 0; i < under.end; i++) {
    if (FOLD[expanded[suffix + i]] !== under.folded[i]) return -1;
  }
  return suffix;
}

/** A name in wire form as a string that is the same for all spellings of it (RFC 4343). */
export function nameKey(name: Uint8Array): string {
  return keyOf(name, name.length);
}

function keyOf(name: Uint8Array, length: number): string {
  let key = '';
  for (let i = 0; i < length; i++) key += String.fromCharCode(FOLD[name[i]]);
  return key;
}

/** The text of the labels expanded[0..end). */
function nameText(end: number): string {
  let text = '';
  for (let at = 0; at < end; ) {
    const next = at + 1 + expanded[at];
    if (at > 0) text += '.';
    while (++at < next) text += CHARACTERS[expanded[at]];
  }
  return text;
}

/** The address that an SRV record's target is the text of, or null. */
function readTarget(bytes: Uint8Array, { rdata, rdataEnd }: RecordWalk): string | null {
  const target = rdata + SRV_FIXED_BYTES;
  if (target >= rdataEnd || skipName(bytes, target, 0, rdataEnd) !== rdataEnd) return null;
  const length = expandName(bytes, target, targetName);
  if (length < 3) return null;
  for (let at = 0; at < length; ) {
    const next = at + 1 + targetName[at];
    targetName[at] = DOT;
    at = next;
  }
  return canonicalAddress(targetName, 1, length - 1);
}
