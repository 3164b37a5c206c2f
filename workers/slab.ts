/**
 * The slab: one SharedArrayBuffer cut into equal slots, one datagram per slot.
 *
 * The kernel writes a received datagram straight into a slot's data (recvmmsg), a lane turns it
 * into its answer in place, and the kernel reads the answer from there (sendmmsg): the bytes are
 * never copied and no object exists per datagram. Everything a thread must know about the datagram
 * is in the slot's header; what crosses threads is the slot's number.
 *
 *   slot 0                slot 1
 *   +--------+-----------+--------+-----------+--
 *   | header | data      | header | data      | ...
 *   | 64 B   | 1984 B    | 64 B   | 1984 B    |
 *   +--------+-----------+--------+-----------+--
 *
 * header, little-endian, offsets in bytes (mirrored in server/net/native/slot.h; a test compares
 * them):
 *
 *    0 length i32      bytes of data: of the datagram, then of the answer (0 = nothing to send;
 *                      negative = a signature is to be checked first)
 *    4 family u8       4 or 6, of both addresses below
 *    5 transport u8    TRANSPORT_UDP or TRANSPORT_TCP
 *    6 port u16        the other end's port
 *    8 address 16 B    the other end; IPv4 as v4-mapped ::ffff:a.b.c.d
 *   24 local 16 B      the address it arrived on and its answer leaves from; all zero = unknown
 *   40 scope i32       interface index (IPv6 link-local peers, packet info); 0 = none
 *   44 connection i32  TCP: connection number. UDP: the rate limiter's row (rate-limiter.ts)
 *   48 generation i32  TCP: the connection's generation, so that a late answer finds nobody. UDP:
 *                      what the rate limiter has set aside for the answer
 *   52 budget i32      the most bytes the answer to an unproven source may have, set by admission;
 *                      BUDGET_SILENT: none; BUDGET_TRUNCATED: a token at most, else TC
 *   56 receiver u16    the socket the slot's datagram came by and its answer leaves by
 *   58 protocol u8     which protocol the first bytes belong to (server/net/protocol-table.ts)
 *   59 state u8        of a received datagram: what is known of it, the bits SLOT_PROVEN to
 *                      SLOT_FORGED below; of a lane's own slot: SLOT_FREE or SLOT_BUSY
 *   60 keyHash i32     hash of the key the datagram is about; 0 = keyless. With SLOT_DOWN_HINT: the
 *                      entry of the routing table
 *
 * A lane that cannot answer before a signature is checked leaves the datagram as it was and makes
 * its length negative: main has it checked and gives the slot to the lane again, with SLOT_GENUINE
 * or SLOT_FORGED.
 */

export const SLOT_BYTES = 2048;
export const SLOT_HEADER_BYTES = 64;
/** The longest datagram a slot holds; a longer one is a counted drop. */
export const SLOT_DATA_BYTES = SLOT_BYTES - SLOT_HEADER_BYTES;

export const SLOT_LENGTH = 0;
export const SLOT_FAMILY = 4;
export const SLOT_TRANSPORT = 5;
export const SLOT_PORT = 6;
export const SLOT_ADDRESS = 8;
export const SLOT_LOCAL = 24;
export const SLOT_SCOPE = 40;
export const SLOT_CONNECTION = 44;
export const SLOT_GENERATION = 48;
export const SLOT_BUDGET = 52;
export const SLOT_RECEIVER = 56;
export const SLOT_PROTOCOL = 58;
export const SLOT_STATE = 59;
export const SLOT_KEY_HASH = 60;

export const TRANSPORT_UDP = 1;
export const TRANSPORT_TCP = 2;

/** In the place of connection and generation: what the rate limiter notes of a datagram by UDP. */
export const SLOT_LIMITER_ROW = 44;
export const SLOT_SET_ASIDE = 48;

export const SLOT_FREE = 0;
export const SLOT_BUSY = 1;
/** The source has proven that it receives what is sent to its address. */
export const SLOT_PROVEN = 2;
/** DHT: the sender's id is that of its address, and the routing table does not have it. */
export const SLOT_SIGHTED = 4;
/** DHT: the sender says that the node in an entry of the routing table (keyHash) is down. */
export const SLOT_DOWN_HINT = 8;
/** DHT: refused for want of a proof: let the source prove its address, so that its retry passes. */
export const SLOT_UNPROVEN = 64;
/** DHT: what the check of the datagram's signature found. */
export const SLOT_GENUINE = 16;
export const SLOT_FORGED = 32;

/** Nothing is answered unless the source proves its address (a valid token or cookie). */
export const BUDGET_SILENT = 0;
/**
 * Unless proven, the answer is header, question and OPT with TC set; to a TXT question, that of old
 * clients who do not know TC, with the TXT that has their token, as long as it is no more than
 * three times the question, headers counted (amplification.ts).
 */
export const BUDGET_TRUNCATED = -1;

/** Slots are addressed with 32-bit byte offsets: 2^31 / 2048. */
export const MAX_SLOTS = 1_048_576;

/** Typed views over one slab. The same buffer is wrapped once in each thread. */
export class Slab {
  readonly buffer: SharedArrayBuffer;
  readonly slotCount: number;
  readonly bytes: Uint8Array;
  readonly u16: Uint16Array;
  /** Words, signed: an unsigned load makes all arithmetic on it floating-point. */
  readonly i32: Int32Array;
  /** For words that are not aligned. */
  readonly view: DataView;

  /** Wraps `buffer`, whose length must be a whole number of slots. */
  constructor(buffer: SharedArrayBuffer) {
    const slotCount = buffer.byteLength / SLOT_BYTES;
    if (!Number.isInteger(slotCount) || slotCount < 1 || slotCount > MAX_SLOTS) {
      const allowed = `1 to ${MAX_SLOTS} slots of ${SLOT_BYTES} bytes`;
      throw new RangeError(`slab of ${buffer.byteLength} bytes: expected ${allowed}`);
    }
    this.buffer = buffer;
    this.slotCount = slotCount;
    this.bytes = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.view = new DataView(buffer);
  }

  /** A zeroed slab of `slotCount` slots. Untouched pages cost no memory. */
  static allocate(slotCount: number): Slab {
    return new Slab(new SharedArrayBuffer(slotCount * SLOT_BYTES));
  }
}
