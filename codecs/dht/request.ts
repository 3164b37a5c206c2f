/**
 * A request, read where it lies: no object is made of it.
 *
 *   03 flags tid:u16 to:6 [id:32] [token:32] command:uint [target:32] [value: uint length + bytes]
 *                          FLAG_ID FLAG_TOKEN              FLAG_TARGET FLAG_VALUE
 *
 * Whatever follows is ignored, as the originals do.
 */
import {
  ADDRESS_BYTES,
  FLAG_ID,
  FLAG_INTERNAL,
  FLAG_TARGET,
  FLAG_TOKEN,
  FLAG_VALUE,
  ID_BYTES,
  REQUEST_BYTE,
  TOKEN_BYTES,
} from './constants.ts';
import { readU16, readVarint, varintSize } from './varint.ts';

/** What stands for a command larger than it: there is none, and small integers stay fast. */
export const HUGE_COMMAND = 0x3fff_ffff;

/** Reads one datagram after the other. All `Start` fields are offsets into the bytes given. */
export class RequestReader {
  flags = 0;
  tid = 0;
  /** The receiver's address as the sender sees it, 6 bytes. */
  toStart = 0;
  /** The sender's id; -1: none. Whether it is the hash of its address is not checked here. */
  idStart = -1;
  tokenStart = -1;
  /** Whether the command is one of INTERNAL. */
  isInternal = false;
  /** At most HUGE_COMMAND; the number as it was sent is at `commandStart`. */
  command = 0;
  commandStart = 0;
  targetStart = -1;
  valueStart = -1;
  /** Bytes of the value; 0 also when there is none. */
  valueLength = 0;

  /** Reads the datagram of `length` bytes at `start`; false when it is not a readable request. */
  read(bytes: Uint8Array, start: number, length: number): boolean {
    const end = start + length;
    if (length < 2 || bytes[start] !== REQUEST_BYTE) return false;
    const flags = readVarint(bytes, start + 1, end);
    if (flags < 0) return false;
    let at = start + 1 + varintSize(bytes[start + 1]);
    this.flags = flags & 0xff;
    this.tid = readU16(bytes, at);
    this.toStart = at + 2;
    at += 2 + ADDRESS_BYTES;
    this.idStart = this.tokenStart = this.targetStart = this.valueStart = -1;
    if ((flags & FLAG_ID) !== 0) {
      this.idStart = at;
      at += ID_BYTES;
    }
    if ((flags & FLAG_TOKEN) !== 0) {
      this.tokenStart = at;
      at += TOKEN_BYTES;
    }
    return this.#readRest(bytes, at, end, flags);
  }

  #readRest(bytes: Uint8Array, commandStart: number, end: number, flags: number): boolean {
    const command = readVarint(bytes, commandStart, end);
    if (command < 0) return false;
    this.isInternal = (flags & FLAG_INTERNAL) !== 0;
    this.command = Math.min(command, HUGE_COMMAND);
    this.commandStart = commandStart;
    let at = commandStart + varintSize(bytes[commandStart]);
    if ((flags & FLAG_TARGET) !== 0) {
      this.targetStart = at;
      at += ID_BYTES;
    }
    this.valueLength = 0;
    if ((flags & FLAG_VALUE) === 0) return at <= end;
    const valueLength = readVarint(bytes, at, end);
    if (valueLength < 0) return false;
    this.valueStart = at + varintSize(bytes[at]);
    if (valueLength > end - this.valueStart) return false;
    this.valueLength = valueLength;
    return true;
  }
}
