/**
 * The messages by which two peers meet through a node: PEER_HANDSHAKE and PEER_HOLEPUNCH. They are
 * read where they lie, and written for the next on the way into another slot.
 *
 *   handshake   flags:uint mode:uint noise: uint length + bytes  [peer address:6] [relay address:6]
 *                                                                PEER_ADDRESS     RELAY_ADDRESS
 *   holepunch   flags:uint mode:uint id:uint payload: uint length + bytes  [peer address:6]
 *                                                                          PEER_ADDRESS
 *
 * Modes: RELAY_MODE. Whatever follows is ignored, as the original does.
 */
import { ADDRESS_BYTES } from './constants.ts';
import { readVarint, varintBytes, varintSize, writeVarint } from './varint.ts';

export const RELAY_PEER_ADDRESS = 1;
export const RELAY_RELAY_ADDRESS = 2;

/** What stands for a mode larger than it: none is. */
const HUGE_MODE = 0xff;

/** What both begin with. */
class ModeReader {
  flags = 0;
  /** One of RELAY_MODE, or a number that is none of them. */
  mode = 0;

  /** Reads flags and mode; returns the offset behind them, -1 when they are unreadable. */
  protected readMode(bytes: Uint8Array, start: number, end: number): number {
    const flags = readVarint(bytes, start, end);
    if (flags < 0) return -1;
    const modeAt = start + varintSize(bytes[start]);
    const mode = readVarint(bytes, modeAt, end);
    if (mode < 0) return -1;
    this.flags = flags & 0xff;
    this.mode = Math.min(mode, HUGE_MODE);
    return modeAt + varintSize(bytes[modeAt]);
  }
}

/** Reads the value of a PEER_HANDSHAKE. -1: not there. */
export class RelayReader extends ModeReader {
  noiseStart = 0;
  noiseLength = 0;
  peerAddressStart = -1;
  relayAddressStart = -1;

  /** Reads the value of `length` bytes at `start`; false when it is unreadable. */
  read(bytes: Uint8Array, start: number, length: number): boolean {
    const end = start + length;
    const lengthAt = this.readMode(bytes, start, end);
    if (lengthAt < 0) return false;
    const { flags } = this;
    const noiseLength = readVarint(bytes, lengthAt, end);
    if (noiseLength < 0 || noiseLength > length) return false;
    this.noiseStart = lengthAt + varintSize(bytes[lengthAt]);
    this.noiseLength = noiseLength;
    let at = this.noiseStart + noiseLength;
    this.peerAddressStart = this.relayAddressStart = -1;
    if ((flags & RELAY_PEER_ADDRESS) !== 0) {
      this.peerAddressStart = at;
      at += ADDRESS_BYTES;
    }
    if ((flags & RELAY_RELAY_ADDRESS) !== 0) {
      this.relayAddressStart = at;
      at += ADDRESS_BYTES;
    }
    return at <= end;
  }
}

/** Reads the value of a PEER_HOLEPUNCH. -1: not there. */
export class HolepunchReader extends ModeReader {
  id = 0;
  payloadStart = 0;
  payloadLength = 0;
  peerAddressStart = -1;

  /** Reads the value of `length` bytes at `start`; false when it is unreadable. */
  read(bytes: Uint8Array, start: number, length: number): boolean {
    const end = start + length;
    const idAt = this.readMode(bytes, start, end);
    if (idAt < 0) return false;
    const id = readVarint(bytes, idAt, end);
    if (id < 0) return false;
    const lengthAt = idAt + varintSize(bytes[idAt]);
    const payloadLength = readVarint(bytes, lengthAt, end);
    if (payloadLength < 0 || payloadLength > length) return false;
    this.id = id;
    this.payloadStart = lengthAt + varintSize(bytes[lengthAt]);
    this.payloadLength = payloadLength;
    const payloadEnd = this.payloadStart + payloadLength;
    const hasPeer = (this.flags & RELAY_PEER_ADDRESS) !== 0;
    this.peerAddressStart = hasPeer ? payloadEnd : -1;
    return payloadEnd + (hasPeer ? ADDRESS_BYTES : 0) <= end;
  }
}

/** How many bytes writeHandshake writes. */
export function handshakeBytes(noiseLength: number, hasPeer: boolean, hasRelay: boolean): number {
  const addresses = (hasPeer ? ADDRESS_BYTES : 0) + (hasRelay ? ADDRESS_BYTES : 0);
  return 2 + varintBytes(noiseLength) + noiseLength + addresses;
}

/**
 * Writes a handshake; returns the offset behind it. The noise is copied from source[noiseStart],
 * the 6-byte addresses from `addresses` at `peerAt` and `relayAt` (-1: none). `out` and `source`
 * may be one memory, as two slots of a slab are, but what is read must not be overwritten.
 */
export function writeHandshake(
  out: Uint8Array,
  at: number,
  mode: number,
  source: Uint8Array,
  noiseStart: number,
  noiseLength: number,
  addresses: Uint8Array,
  peerAt: number,
  relayAt: number,
): number {
  const peerFlag = peerAt < 0 ? 0 : RELAY_PEER_ADDRESS;
  out[at] = peerFlag | (relayAt < 0 ? 0 : RELAY_RELAY_ADDRESS);
  out[at + 1] = mode;
  let end = writeVarint(out, at + 2, noiseLength);
  end = copy(out, end, source, noiseStart, noiseLength);
  if (peerAt >= 0) end = copy(out, end, addresses, peerAt, ADDRESS_BYTES);
  if (relayAt >= 0) end = copy(out, end, addresses, relayAt, ADDRESS_BYTES);
  return end;
}

/** How many bytes writeHolepunch writes. */
export function holepunchBytes(id: number, payloadLength: number, hasPeer: boolean): number {
  const fixed = 2 + varintBytes(id) + (hasPeer ? ADDRESS_BYTES : 0);
  return fixed + varintBytes(payloadLength) + payloadLength;
}

/** As writeHandshake, of a hole punch: the payload is copied from source[payloadStart]. */
export function writeHolepunch(
  out: Uint8Array,
  at: number,
  mode: number,
  id: number,
  source: Uint8Array,
  payloadStart: number,
  payloadLength: number,
  addresses: Uint8Array,
  peerAt: number,
): number {
  out[at] = peerAt < 0 ? 0 : RELAY_PEER_ADDRESS;
  out[at + 1] = mode;
  let end = writeVarint(out, at + 2, id);
  end = writeVarint(out, end, payloadLength);
  end = copy(out, end, source, payloadStart, payloadLength);
  return peerAt < 0 ? end : copy(out, end, addresses, peerAt, ADDRESS_BYTES);
}

function copy(
  out: Uint8Array,
  at: number,
  source: Uint8Array,
  from: number,
  count: number,
): number {
  if (out === source) out.copyWithin(at, from, from + count);
  else for (let i = 0; i < count; i++) out[at + i] = source[from + i];
  return at + count;
}
