/** The one event of a record store: what persistence and replication hang on. */

export const OP_PUT = 1;
export const OP_REMOVE = 2;

/** The peer was not live under the name and now is. */
export const ADDED = 1;
/**
 * The peer was live and got a new expiry and version; it is now the newest of its name. Also the
 * answer to a put equal to what is stored (expiry, version and origin), which changes nothing, not
 * even the order of age and of use: clients repeat themselves within a second.
 */
export const REFRESHED = 2;
/** The peer was live and no longer is. */
export const REMOVED = 3;
/** Nothing to remove: the peer is not live under the name. Nothing is remembered of it either. */
export const ABSENT = 4;
/** The store knows something newer of the peer (a tombstone too), or the change is already over. */
export const STALE = 5;
/** The name has no room for one more peer; nothing was changed and nobody evicted. */
export const FULL = 6;
/** A field is out of its range; nothing happened. */
export const INVALID = 7;
/** The peer is not live, and its host, network or name has as many as it may; nothing changed. */
export const BOUNDED = 8;

export type ApplyResult =
  | typeof ADDED
  | typeof REFRESHED
  | typeof REMOVED
  | typeof ABSENT
  | typeof STALE
  | typeof FULL
  | typeof INVALID
  | typeof BOUNDED;

const NO_BYTES = new Uint8Array(0);

/**
 * A change, reusable: fill it and pass it to `RecordStore.apply`, which keeps no reference to it.
 * Of two changes of one record the one with the higher version wins, then the one with the higher
 * origin; equal ones count in order of arrival.
 */
export class Change {
  op = OP_PUT;
  /** Whole unix seconds: the time of the change, the store's only clock. Never goes back. */
  now = 0;
  /** The key is `keyBytes[keyStart..keyEnd)`: case-folded wire-format labels without the domain. */
  keyBytes: Uint8Array = NO_BYTES;
  keyStart = 0;
  keyEnd = 0;
  /** The key's keyed hash, 32 bits; the same for the same key and domain, always. */
  keyHash = 0;
  /** Which of the server's domains, 0 to 255. */
  domain = 0;
  /** 16 bytes at `address[addressOffset]`; of IPv4 (v4-mapped) only the last four count. */
  address: Uint8Array = NO_BYTES;
  addressOffset = 0;
  port = 0;
  /** 4 or 6. */
  family = 4;
  /** Whole unix seconds, 0 = never. */
  expiresAt = 0;
  /** Which server the change came from first, 0 to 255. */
  origin = 0;
  /** uint32; higher is newer. */
  version = 0;
}

/** Whether every field is in its range, so that nothing that follows needs to ask again. */
export function isValidChange(change: Change): boolean {
  const { keyStart, keyEnd, addressOffset } = change;
  return (
    (change.op === OP_PUT || change.op === OP_REMOVE) &&
    keyStart >>> 0 === keyStart &&
    keyEnd >>> 0 === keyEnd &&
    keyEnd > keyStart &&
    keyEnd - keyStart <= 255 &&
    keyEnd <= change.keyBytes.length &&
    addressOffset >>> 0 === addressOffset &&
    addressOffset + 16 <= change.address.length &&
    (change.family === 4 || change.family === 6) &&
    (change.port & 0xffff) === change.port &&
    (change.domain & 0xff) === change.domain &&
    (change.origin & 0xff) === change.origin &&
    change.expiresAt >>> 0 === change.expiresAt &&
    change.version >>> 0 === change.version &&
    change.now >>> 0 === change.now
  );
}
