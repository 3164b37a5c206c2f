/** Requests as npm hyperdht signs them, and slots that hold them. */
import { createRequire } from 'node:module';
import { COMMAND } from '../../../codecs/dht/constants.ts';
import { encodeRequest } from '../../../codecs/dht/message.ts';
import { RoutingTable } from '../../../workers/dht/routing-table.ts';
import { TableWriter } from '../../../workers/dht/table-writer.ts';
import type { Rng } from '../../../workers/rng.ts';
import { SLOT_BYTES, SLOT_HEADER_BYTES, SLOT_LENGTH, Slab } from '../../../workers/slab.ts';

interface KeyPair {
  readonly publicKey: Buffer;
  readonly secretKey: Buffer;
}
interface Announcement {
  readonly peer: { publicKey: Buffer; relayAddresses: { host: string; port: number }[] };
  readonly refresh: Buffer | null;
  readonly bump: number;
  signature?: Buffer;
}
type SignAnnounce = (
  target: Uint8Array,
  token: Uint8Array,
  id: Uint8Array,
  announcement: Announcement,
  keyPair: KeyPair,
) => Buffer;

const require = createRequire(import.meta.url);
const Original = require('hyperdht/lib/persistent') as {
  signAnnounce: SignAnnounce;
  signUnannounce: SignAnnounce;
  signMutable(seq: number, value: Buffer, keyPair: KeyPair): Buffer;
};
const messages = require('hyperdht/lib/messages') as {
  announce: object;
  mutablePutRequest: object;
};
// The original's own version of it.
const encoding = createRequire(require.resolve('hyperdht'))('compact-encoding') as {
  encode(encoder: object, value: object): Uint8Array;
};
const { createKeyPair } = require('hyperdht/lib/crypto') as {
  createKeyPair(seed: Uint8Array): KeyPair;
};

export const OWN_ID = new Uint8Array(32).fill(0x33);

function bytes(rng: Rng, count: number): Buffer {
  return Buffer.from(Array.from({ length: count }, () => rng.below(256)));
}

/** An ANNOUNCE or UNANNOUNCE to the node OWN_ID. */
export function signedAnnounce(rng: Rng, command: number = COMMAND.ANNOUNCE): Uint8Array {
  const keyPair = createKeyPair(bytes(rng, 32));
  const target = bytes(rng, 32);
  const token = bytes(rng, 32);
  const announcement: Announcement = {
    peer: {
      publicKey: keyPair.publicKey,
      relayAddresses: Array.from({ length: rng.below(4) }, () => ({
        host: `10.1.2.${rng.below(256)}`,
        port: 1 + rng.below(65_535),
      })),
    },
    refresh: rng.below(2) === 0 ? null : bytes(rng, 32),
    bump: rng.below(2) === 0 ? 0 : 1_700_000_000_000,
  };
  const sign = command === COMMAND.ANNOUNCE ? Original.signAnnounce : Original.signUnannounce;
  announcement.signature = sign(target, token, OWN_ID, announcement, keyPair);
  const value = encoding.encode(messages.announce, announcement);
  return request(rng, command, target, token, value);
}

/** A MUTABLE_PUT. */
export function signedMutablePut(rng: Rng): Uint8Array {
  const keyPair = createKeyPair(bytes(rng, 32));
  const value = bytes(rng, 1 + rng.below(rng.below(2) === 0 ? 10 : 900));
  const seq = rng.below(2) === 0 ? rng.below(300) : 2 ** 40 + rng.below(1000);
  const signature = Original.signMutable(seq, value, keyPair);
  const put = { publicKey: keyPair.publicKey, seq, value, signature };
  const encoded = encoding.encode(messages.mutablePutRequest, put);
  return request(rng, COMMAND.MUTABLE_PUT, bytes(rng, 32), bytes(rng, 32), encoded);
}

function request(
  rng: Rng,
  command: number,
  target: Uint8Array,
  token: Uint8Array,
  value: Uint8Array,
): Uint8Array {
  return encodeRequest({
    tid: rng.below(65_536),
    to: { host: '10.0.0.1', port: 49_737 },
    id: null,
    token,
    isInternal: false,
    command,
    target,
    value,
  });
}

/** A slab and the table of a node with the id OWN_ID. */
export function makeMemory(slots: number): { slab: Slab; table: SharedArrayBuffer } {
  const table = RoutingTable.allocate(2);
  new TableWriter(table, { isPrivate: true }).setOwn(OWN_ID, true);
  return { slab: Slab.allocate(slots), table };
}

/** Puts a datagram into a slot as a lane leaves it when it wants a signature checked. */
export function fillSlot(slab: Slab, slot: number, datagram: Uint8Array): void {
  const base = slot * SLOT_BYTES;
  slab.bytes.set(datagram, base + SLOT_HEADER_BYTES);
  slab.i32[(base + SLOT_LENGTH) >> 2] = -datagram.length;
}
