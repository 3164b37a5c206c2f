/** Big-endian numbers and the fixed parts of records. */
import { CLASS } from './constants.ts';

/** Priority, weight and port before an SRV record's target (RFC 2782). */
export const SRV_FIXED_BYTES = 6;

/** The 16-bit number at `offset`. */
export function readU16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] << 8) | bytes[offset + 1];
}

/** Writes the low 16 bits of `value`, big-endian. */
export function writeU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

/**
 * A view of the bytes a message lies in. Messages lie in two memories, the slab and the overflow
 * arena of TCP: the views of the last two are kept, so that none is made per message.
 */
export class MessageViews {
  #bytes: Uint8Array = new Uint8Array();
  #view: DataView = new DataView(this.#bytes.buffer);
  #otherBytes: Uint8Array = this.#bytes;
  #otherView = this.#view;

  of(bytes: Uint8Array): DataView {
    return bytes === this.#bytes ? this.#view : this.#change(bytes);
  }

  #change(bytes: Uint8Array): DataView {
    const view =
      bytes === this.#otherBytes
        ? this.#otherView
        : new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#otherBytes = this.#bytes;
    this.#otherView = this.#view;
    this.#bytes = bytes;
    this.#view = view;
    return view;
  }
}

/**
 * Copies `count` bytes (short runs: a call of `set` costs more) and returns the offset behind them.
 */
export function copyBytes(
  target: Uint8Array,
  at: number,
  source: Uint8Array,
  from: number,
  count: number,
): number {
  for (let i = 0; i < count; i++) target[at + i] = source[from + i];
  return at + count;
}

/** Writes type, class IN, ttl and rdlength at `at`. */
export function writeFixed(
  bytes: Uint8Array,
  at: number,
  type: number,
  ttl: number,
  rdlength: number,
): void {
  writeU16(bytes, at, type);
  writeU16(bytes, at + 2, CLASS.IN);
  writeU16(bytes, at + 4, ttl >>> 16);
  writeU16(bytes, at + 6, ttl);
  writeU16(bytes, at + 8, rdlength);
}

/** Writes an SRV record's priority 0, weight 0 and port; returns where the target goes. */
export function writeSrvFixed(bytes: Uint8Array, at: number, port: number): number {
  writeU16(bytes, at, 0);
  writeU16(bytes, at + 2, 0);
  writeU16(bytes, at + 4, port);
  return at + SRV_FIXED_BYTES;
}
