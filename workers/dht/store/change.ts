/** The changes of DHT stores: reusable, filled by the caller, kept by nobody. */
import { OP_PUT } from '../../store/change.ts';

const NO_BYTES = new Uint8Array(0);

/** What changes of both kinds of store have. */
export class Change {
  /** OP_PUT or OP_REMOVE (workers/store/change.ts). */
  op = OP_PUT;
  /** The keyed 32-bit hash of the key or target: the same for the same one, always. */
  hash = 0;
  /** Milliseconds of the clock that `setTime` tells the store; of a put only. */
  expiresAt = 0;
  /** The network a put came from, as a 32-bit number; 0 is spared the bound on networks. */
  prefix = 0;
  /** The host a put came from, as a 32-bit number; 0 is spared the bound on hosts. */
  host = 0;
}

/** A change of a ValueStore. */
export class ValueChange extends Change {
  /** 32 bytes at `key[keyAt]`. */
  key: Uint8Array = NO_BYTES;
  keyAt = 0;
  /** Of a put: `valueLength` bytes at `value[valueAt]`. */
  value: Uint8Array = NO_BYTES;
  valueAt = 0;
  valueLength = 0;
}

/** A change of a PeerStore. */
export class PeerChange extends Change {
  /** 32 bytes at `target[targetAt]`. */
  target: Uint8Array = NO_BYTES;
  targetAt = 0;
  /** 32 bytes at `publicKey[publicKeyAt]`. */
  publicKey: Uint8Array = NO_BYTES;
  publicKeyAt = 0;
  /** Of a put: `relayCount` addresses, 0 to 3, of 6 bytes each at `relays[relaysAt]`. */
  relays: Uint8Array = NO_BYTES;
  relaysAt = 0;
  relayCount = 0;
  /** Of a put: the target's bump becomes this when it is higher; it lasts until `expiresAt`. */
  bump = 0;
}

/** Whether `length` bytes are there. */
export function isWithin(bytes: Uint8Array, at: number, length: number): boolean {
  return at >>> 0 === at && at + length <= bytes.length;
}
