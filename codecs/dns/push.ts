import { isMapped } from '../mapped-address.ts';
import { writeAddressName } from './address.ts';
import {
  FLAG_RD,
  HEADER_ARCOUNT,
  HEADER_BYTES,
  HEADER_FLAGS,
  MAX_NAME_BYTES,
  RECORD_FIXED_BYTES,
  TYPE,
} from './constants.ts';
import { copyBytes, SRV_FIXED_BYTES, writeFixed, writeSrvFixed, writeU16 } from './wire.ts';

/** One label of at most 39 characters, its length byte and the root's. */
const MAX_TARGET_BYTES = 41;
/** The longest push: what a slot for one must hold. */
export const MAX_PUSH_BYTES =
  HEADER_BYTES + MAX_NAME_BYTES + RECORD_FIXED_BYTES + SRV_FIXED_BYTES + MAX_TARGET_BYTES;

/**
 * Writes the query by which a server tells a subscriber of a new peer, as npm dns-discovery 6.2.3
 * does: no question, one additional record `<id>.<domain>` SRV 0 0 port target. The subscriber
 * acknowledges it with an empty response of the same id, which must not be 0: the original's client
 * drops that.
 *
 *   | id | 0x0100 | 0 0 0 1 | key | domain | SRV IN ttl rdlength | 0 0 port target |
 *
 * `key` is the id part in wire form without the root, key[keyStart..keyEnd); `domain` the wire form
 * with it (`DomainTable.wires`); `address` 16 bytes at `addressOffset`, v4-mapped ones become four
 * labels. Returns the length, at most MAX_PUSH_BYTES; 0 when id and domain make no name of 255
 * bytes (the id came in alone as a single label), then nothing is written.
 */
export function writePush(
  bytes: Uint8Array,
  offset: number,
  id: number,
  key: Uint8Array,
  keyStart: number,
  keyEnd: number,
  domain: Uint8Array,
  ttl: number,
  port: number,
  address: Uint8Array,
  addressOffset: number,
): number {
  const keyBytes = keyEnd - keyStart;
  if (keyBytes + domain.length > MAX_NAME_BYTES) return 0;
  writeU16(bytes, offset, id);
  writeU16(bytes, offset + HEADER_FLAGS, FLAG_RD);
  for (let i = 4; i < HEADER_BYTES; i++) bytes[offset + i] = 0;
  bytes[offset + HEADER_ARCOUNT + 1] = 1;
  let fixed = copyBytes(bytes, offset + HEADER_BYTES, key, keyStart, keyBytes);
  fixed = copyBytes(bytes, fixed, domain, 0, domain.length);
  const rdata = fixed + RECORD_FIXED_BYTES;
  const target = writeSrvFixed(bytes, rdata, port);
  const end = isMapped(address, addressOffset)
    ? writeAddressName(bytes, target, address, addressOffset + 12, 4)
    : writeAddressName(bytes, target, address, addressOffset, 16);
  writeFixed(bytes, fixed, TYPE.SRV, ttl, end - rdata);
  return end - offset;
}
