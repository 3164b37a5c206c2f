/** What DhtRecords is given: keys, targets and numbers, checked and copied. */
import {
  HEAD_BYTES,
  ID_BYTES,
  MAX_DATAGRAM_BYTES,
  PUBLIC_KEY_BYTES,
  TOKEN_BYTES,
} from '../../codecs/dht/constants.ts';
import { varintBytes, writeVarint } from '../../codecs/dht/varint.ts';
import { SECRET_KEY_BYTES } from '../../codecs/sign/ed25519.ts';
import { isSame } from './record-answers.ts';

/** A command and the length of a long value, as uints. */
const COMMAND_AND_LENGTH_BYTES = 4;
/** What a put in one unfragmented datagram has room for, beside our id, a token and a target. */
const MAX_PUT_BYTES =
  MAX_DATAGRAM_BYTES - HEAD_BYTES - ID_BYTES - TOKEN_BYTES - COMMAND_AND_LENGTH_BYTES - ID_BYTES;

/** An Ed25519 key pair, as libsodium has them. */
export interface KeyPair {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** 64 bytes. */
  readonly secretKey: Uint8Array;
}

/** A number as it is on the wire. */
export function uint(value: number): Uint8Array {
  const bytes = new Uint8Array(varintBytes(value));
  writeVarint(bytes, 0, value);
  return bytes;
}

/** A copy of a target. */
export function targetOf(target: Uint8Array): Uint8Array {
  return fixed('target', target, ID_BYTES);
}

/** A copy of a public key. */
export function publicKeyOf(publicKey: Uint8Array): Uint8Array {
  return fixed('publicKey', publicKey, PUBLIC_KEY_BYTES);
}

/** A copy of the pair's own: what the caller does with its arrays later does not matter. */
export function pairOf(keyPair: KeyPair): KeyPair {
  const publicKey = publicKeyOf(keyPair.publicKey);
  const secretKey = fixed('secretKey', keyPair.secretKey, SECRET_KEY_BYTES);
  // Nodes say nothing to what is signed by somebody else.
  if (!isSame(secretKey.subarray(SECRET_KEY_BYTES - PUBLIC_KEY_BYTES), publicKey)) {
    throw new TypeError('secretKey: expected the one that belongs to publicKey');
  }
  return { publicKey, secretKey };
}

/** Throws when `value` is none that the wire has. */
export function checkNumber(name: string, value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`${name} ${value}: expected a whole number from 0 to 2^53 - 1`);
  }
}

/** A copy of a value that is to be kept, on the heap. */
export function contentOf(value: Uint8Array): Uint8Array {
  if (!(value instanceof Uint8Array)) throw new TypeError('value: expected a Uint8Array');
  return new Uint8Array(value);
}

/** Throws when a value is longer than a put has room for that has `besides` bytes beside it. */
export function checkLength({ length }: Uint8Array, besides: number): void {
  const most = MAX_PUT_BYTES - besides;
  if (length > most) throw new RangeError(`value of ${length} bytes: at most ${most} can be put`);
}

function fixed(name: string, bytes: Uint8Array, length: number): Uint8Array {
  if (!(bytes instanceof Uint8Array) || bytes.length !== length) {
    throw new TypeError(`${name}: expected a Uint8Array of ${length} bytes`);
  }
  return new Uint8Array(bytes);
}
