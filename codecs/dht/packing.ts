/** Messages of compact-encoding's fields, put together and taken apart. */
import c, { type Encoder, type State } from 'compact-encoding';

/**
 * A list: its count, then its items. compact-encoding's own makes an array as long as the count
 * says before it looks whether so many items of at least `leastBytes` are there.
 */
export function listOf<T>(item: Encoder<T>, leastBytes: number): Encoder<readonly T[], T[]> {
  return {
    preencode(state, list) {
      c.uint.preencode(state, list.length);
      for (const value of list) item.preencode(state, value);
    },
    encode(state, list) {
      c.uint.encode(state, list.length);
      for (const value of list) item.encode(state, value);
    },
    decode(state) {
      const count = c.uint.decode(state);
      if (count * leastBytes > state.end - state.start) throw new RangeError('out of bounds');
      return Array.from({ length: count }, () => item.decode(state));
    },
  };
}

/** A part of a message: an encoder and what it writes. */
export interface Field {
  preencode(state: State): void;
  encode(state: State): void;
}

/** `value`, as `encoder` writes it. */
export function field<T>(encoder: Encoder<T, unknown>, value: T): Field {
  return {
    preencode: (state) => encoder.preencode(state, value),
    encode: (state) => encoder.encode(state, value),
  };
}

/** As field; null, which is left out, for null. */
export function optional<T>(encoder: Encoder<T, unknown>, value: T | null): Field | null {
  return value === null ? null : field(encoder, value);
}

/** The bytes of the fields, one after the other. */
export function pack(...fields: readonly (Field | null)[]): Uint8Array {
  const state: State = { start: 0, end: 0, buffer: null };
  for (const part of fields) part?.preencode(state);
  const buffer = new Uint8Array(state.end);
  state.buffer = buffer;
  for (const part of fields) part?.encode(state);
  return buffer;
}

/** What `read` makes of a copy of `bytes`; null when it throws, as encoders do at the end. */
export function unpack<T>(bytes: Uint8Array, read: (state: State) => T): T | null {
  // compact-encoding returns views of what it reads: of a copy of all, they are the caller's own.
  const buffer = new Uint8Array(bytes);
  try {
    return read({ start: 0, end: buffer.length, buffer });
  } catch {
    return null;
  }
}
