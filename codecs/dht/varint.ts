/**
 * Little-endian numbers of the DHT's wire. A uint takes 1, 3, 5 or 9 bytes:
 *
 *   00..fc   the number itself
 *   fd       u16
 *   fe       u32
 *   ff       u64, of which 2^53 - 1 is the largest that is read
 */

const U16_MARK = 0xfd;
const U32_MARK = 0xfe;
const U64_MARK = 0xff;
const U32 = 0x1_0000_0000;
/** The upper word of 2^53 - 1. */
const MAX_UPPER = 0x1f_ffff;

/** The u16 at `at`. */
export function readU16(bytes: Uint8Array, at: number): number {
  return bytes[at] | (bytes[at + 1] << 8);
}

/** The u32 at `at`. */
export function readU32(bytes: Uint8Array, at: number): number {
  return (readU16(bytes, at) | (readU16(bytes, at + 2) << 16)) >>> 0;
}

/** Writes the low 16 bits of `value`; returns the offset behind them. */
export function writeU16(bytes: Uint8Array, at: number, value: number): number {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  return at + 2;
}

/** Writes the low 32 bits of `value`; returns the offset behind them. */
export function writeU32(bytes: Uint8Array, at: number, value: number): number {
  return writeU16(bytes, writeU16(bytes, at, value), value >>> 16);
}

/** How many bytes the uint takes that begins with `first`. */
export function varintSize(first: number): number {
  if (first < U16_MARK) return 1;
  return first === U16_MARK ? 3 : first === U32_MARK ? 5 : 9;
}

/** How many bytes `writeVarint` takes for `value`. */
export function varintBytes(value: number): number {
  if (value < U16_MARK) return 1;
  return value <= 0xffff ? 3 : value < U32 ? 5 : 9;
}

/**
 * The uint at `at`, which is `varintSize(bytes[at])` long; -1 when it does not end before `end` or
 * is larger than 2^53 - 1. A number need not be in its shortest form.
 */
export function readVarint(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return -1;
  const first = bytes[at];
  if (first < U16_MARK) return first;
  return readLong(bytes, at, end, first);
}

/** Writes `value` (a whole number from 0 to 2^53 - 1); returns the offset behind it. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  if (value < U16_MARK) {
    bytes[at] = value;
    return at + 1;
  }
  if (value <= 0xffff) {
    bytes[at] = U16_MARK;
    return writeU16(bytes, at + 1, value);
  }
  if (value < U32) {
    bytes[at] = U32_MARK;
    return writeU32(bytes, at + 1, value);
  }
  bytes[at] = U64_MARK;
  return writeU32(bytes, writeU32(bytes, at + 1, value), Math.floor(value / U32));
}

function readLong(bytes: Uint8Array, at: number, end: number, first: number): number {
  if (at + varintSize(first) > end) return -1;
  if (first === U16_MARK) return readU16(bytes, at + 1);
  if (first === U32_MARK) return readU32(bytes, at + 1);
  const upper = readU32(bytes, at + 5);
  return upper > MAX_UPPER ? -1 : upper * U32 + readU32(bytes, at + 1);
}
