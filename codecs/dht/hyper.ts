/**
 * hyperdht's payloads (values of requests) that are read where they lie: announces and mutable
 * puts. Handshakes and hole punches: relay.ts. As objects: hyper-messages.ts.
 *
 *   announce     flags:uint [peer] [refresh:32] [signature:64] [bump:uint]
 *                           PEER   REFRESH      SIGNATURE      BUMP
 *   peer         publicKey:32 relays: uint count + 6 each
 *   mutable put  publicKey:32 seq:uint value: uint length + bytes  signature:64
 *
 * Whatever follows is ignored, as the original does.
 */
import { ADDRESS_BYTES, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, TOKEN_BYTES } from './constants.ts';
import { readVarint, varintSize } from './varint.ts';

/** Flags of an announce. */
export const ANNOUNCE_PEER = 1;
export const ANNOUNCE_REFRESH = 2;
export const ANNOUNCE_SIGNATURE = 4;
export const ANNOUNCE_BUMP = 8;

/** Reads the value of an ANNOUNCE or UNANNOUNCE. -1: not there. */
export class AnnounceReader {
  flags = 0;
  /** Where the peer is as it was sent, its public key first; `peerEnd` is behind its relays. */
  peerStart = -1;
  peerEnd = -1;
  /** How many relay addresses it has, 6 bytes each from `relaysStart`. */
  relayCount = 0;
  relaysStart = -1;
  refreshStart = -1;
  signatureStart = -1;
  /** Milliseconds since 1970; 0: none. */
  bump = 0;

  /** Reads the value of `length` bytes at `start`; false when it is unreadable. */
  read(bytes: Uint8Array, start: number, length: number): boolean {
    const end = start + length;
    const flags = readVarint(bytes, start, end);
    if (flags < 0) return false;
    this.flags = flags & 0xff;
    this.peerStart = this.peerEnd = this.relaysStart = -1;
    this.refreshStart = this.signatureStart = -1;
    this.relayCount = 0;
    this.bump = 0;
    let at = start + varintSize(bytes[start]);
    if ((flags & ANNOUNCE_PEER) !== 0) {
      at = this.#readPeer(bytes, at, end);
      if (at < 0) return false;
    }
    if ((flags & ANNOUNCE_REFRESH) !== 0) {
      this.refreshStart = at;
      at += TOKEN_BYTES;
    }
    if ((flags & ANNOUNCE_SIGNATURE) !== 0) {
      this.signatureStart = at;
      at += SIGNATURE_BYTES;
    }
    if ((flags & ANNOUNCE_BUMP) === 0) return at <= end;
    const bump = readVarint(bytes, at, end);
    if (bump < 0) return false;
    this.bump = bump;
    return true;
  }

  #readPeer(bytes: Uint8Array, start: number, end: number): number {
    const countAt = start + PUBLIC_KEY_BYTES;
    const count = readVarint(bytes, countAt, end);
    if (count < 0) return -1;
    const relaysStart = countAt + varintSize(bytes[countAt]);
    // Checked before it is kept: the fields stay small integers.
    if (count * ADDRESS_BYTES > end - relaysStart) return -1;
    this.peerStart = start;
    this.relayCount = count;
    this.relaysStart = relaysStart;
    this.peerEnd = relaysStart + count * ADDRESS_BYTES;
    return this.peerEnd;
  }
}

/** Reads the value of a MUTABLE_PUT. */
export class MutablePutReader {
  publicKeyStart = 0;
  /** Where `seq` is as it was sent. What is signed is from here to the end of the value. */
  seqStart = 0;
  seq = 0;
  valueStart = 0;
  valueLength = 0;
  signatureStart = 0;

  /** Reads the value of `length` bytes at `start`; false when it is unreadable. */
  read(bytes: Uint8Array, start: number, length: number): boolean {
    const end = start + length;
    const seqStart = start + PUBLIC_KEY_BYTES;
    const seq = readVarint(bytes, seqStart, end);
    if (seq < 0) return false;
    const lengthAt = seqStart + varintSize(bytes[seqStart]);
    const valueLength = readVarint(bytes, lengthAt, end);
    if (valueLength < 0 || valueLength > length) return false;
    this.publicKeyStart = start;
    this.seqStart = seqStart;
    this.seq = seq;
    this.valueStart = lengthAt + varintSize(bytes[lengthAt]);
    this.valueLength = valueLength;
    this.signatureStart = this.valueStart + valueLength;
    return this.signatureStart + SIGNATURE_BYTES <= end;
  }
}
