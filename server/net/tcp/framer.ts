/**
 * Two-byte framing (RFC 1035 section 4.2.2, RFC 7766 section 8), read incrementally.
 *
 *   | length, 2 B, big-endian | message | length | message | ...
 *
 * A chunk may hold many messages and parts of two. Whole ones are copied from the chunk straight
 * to where the sink wants them; only the beginning of an incomplete message is kept, in a buffer
 * that grows as its bytes arrive. The announced length reserves nothing: a client pays for memory
 * with bytes.
 */
import { MAX_MESSAGE_BYTES } from '../../../workers/overflow.ts';

export const FRAME_BYTES = 2;
/** A DNS header; whoever announces less does not speak DNS. */
export const LEAST_MESSAGE_BYTES = 12;
/** `feed` found a length below LEAST_MESSAGE_BYTES: the rest of the stream means nothing. */
export const MALFORMED = -1;

/** The first buffer of an incomplete message: most queries fit. */
const FIRST_BUFFER_BYTES = 64;
/** Copies up to here are loops: setting up a bulk copy costs more. */
const LOOP_COPY_BYTES = 128;

/** Memory that many connections share; what exceeds it is for the owner to free. */
export class PartialBudget {
  readonly limitBytes: number;
  #heldBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  get isExceeded(): boolean {
    return this.#heldBytes > this.limitBytes;
  }

  /** Counts bytes that are held from now on, or with a negative number no longer. */
  add(bytes: number): void {
    this.#heldBytes += bytes;
  }
}

/** Where whole messages go. */
export interface MessageSink {
  /** What messages are written into. */
  readonly bytes: Uint8Array;
  /** Where in `bytes` a message of `length` bytes may be written; -1: not now. */
  place(connection: number, length: number): number;
  /** The message that was placed last is written. Must not feed the framer. */
  placed(connection: number, length: number): void;
}

/** The framing state of connections 0 to `connections` - 1. */
export class Framer {
  readonly #budget: PartialBudget;
  readonly #partial: (Uint8Array | null)[];
  /** Bytes in `#partial`, the two of the length included. */
  readonly #have: Int32Array;

  constructor(connections: number, budget: PartialBudget) {
    this.#budget = budget;
    this.#partial = new Array<Uint8Array | null>(connections).fill(null);
    this.#have = new Int32Array(connections);
  }

  /** Bytes kept of an incomplete message; 0 when there is none. */
  pending(connection: number): number {
    return this.#have[connection];
  }

  /** Forgets what is kept of an incomplete message. */
  forget(connection: number): void {
    const partial = this.#partial[connection];
    this.#have[connection] = 0;
    if (partial === null) return;
    this.#budget.add(-partial.length);
    this.#partial[connection] = null;
  }

  /**
   * Takes chunk[from..] and hands whole messages to the sink. Returns where it stopped: the
   * chunk's length, or earlier when the sink had no place (what follows must be fed again), or
   * MALFORMED.
   */
  feed(connection: number, chunk: Uint8Array, from: number, sink: MessageSink): number {
    let at = from;
    while (at < chunk.length) {
      const have = this.#have[connection];
      if (have + chunk.length - at < FRAME_BYTES) return this.#keep(connection, chunk, at);
      const length = this.#length(connection, have, chunk, at);
      if (length < LEAST_MESSAGE_BYTES) return MALFORMED;
      const missing = FRAME_BYTES + length - have;
      if (chunk.length - at < missing) return this.#keep(connection, chunk, at);
      const to = sink.place(connection, length);
      if (to < 0) return at;
      this.#write(connection, chunk, at, missing, sink.bytes, to);
      at += missing;
      sink.placed(connection, length);
    }
    return at;
  }

  /** The announced length, of which 0, 1 or 2 bytes are kept and the others are at chunk[at]. */
  #length(connection: number, have: number, chunk: Uint8Array, at: number): number {
    const partial = this.#partial[connection];
    if (partial === null) return (chunk[at] << 8) | chunk[at + 1];
    return (partial[0] << 8) | (have === 1 ? chunk[at] : partial[1]);
  }

  /** Writes a message whose last `missing` bytes, frame included, are at chunk[at]. */
  #write(
    connection: number,
    chunk: Uint8Array,
    at: number,
    missing: number,
    target: Uint8Array,
    to: number,
  ): void {
    const partial = this.#partial[connection];
    const have = this.#have[connection];
    // Of the two bytes of the length, those that are still in the chunk.
    const frame = Math.max(0, FRAME_BYTES - have);
    const kept = Math.max(0, have - FRAME_BYTES);
    if (partial !== null) {
      copyBytes(partial, FRAME_BYTES, kept, target, to);
      this.forget(connection);
    }
    copyBytes(chunk, at + frame, missing - frame, target, to + kept);
  }

  /** Keeps chunk[at..], all of which belongs to one incomplete message. */
  #keep(connection: number, chunk: Uint8Array, at: number): number {
    const have = this.#have[connection];
    const count = chunk.length - at;
    const partial = this.#room(connection, have + count);
    copyBytes(chunk, at, count, partial, have);
    this.#have[connection] = have + count;
    return chunk.length;
  }

  /** The connection's buffer, with room for `bytes`: it doubles, so bytes are moved rarely. */
  #room(connection: number, bytes: number): Uint8Array {
    const old = this.#partial[connection];
    if (old !== null && old.length >= bytes) return old;
    let size = old === null ? FIRST_BUFFER_BYTES : old.length;
    while (size < bytes) size *= 2;
    size = Math.min(size, FRAME_BYTES + MAX_MESSAGE_BYTES);
    const grown = new Uint8Array(size);
    if (old !== null) grown.set(old);
    this.#budget.add(size - (old === null ? 0 : old.length));
    this.#partial[connection] = grown;
    return grown;
  }
}

/** Copies source[start..start+count) to target[to..). */
export function copyBytes(
  source: Uint8Array,
  start: number,
  count: number,
  target: Uint8Array,
  to: number,
): void {
  if (count <= LOOP_COPY_BYTES) {
    for (let i = 0; i < count; i++) target[to + i] = source[start + i];
  } else {
    target.set(source.subarray(start, start + count), to);
  }
}
