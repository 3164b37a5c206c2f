/**
 * The recorded requests of the originals, put to a responder that is set up as the recorded node
 * was: its replies, relayed messages and silences are the recorded ones, byte by byte, but for the
 * tokens, which are ours.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { NodeAddress } from '../../../codecs/dht/address.ts';
import {
  FLAG_ID,
  FLAG_INTERNAL,
  FLAG_TOKEN,
  HEAD_BYTES,
  REPLY_BYTE,
  REQUEST_BYTE,
  TOKEN_BYTES,
} from '../../../codecs/dht/constants.ts';
import { nodeId } from '../../../codecs/dht/node-id.ts';
import { RequestReader } from '../../../codecs/dht/request.ts';
import { checkSignature } from '../../../workers/dht/signature.ts';
import { DhtHarness } from '../../helpers/dht-harness.ts';
import { type DhtVector, loadDhtVectors, VECTOR_FILES } from '../codecs/dht/fixture.ts';

const ID_BYTES = 32;
/** Longer than any recorded delay. */
const LATER_MS = 1000;
/**
 * The original forgets a node that answers a ping within the tick of five seconds in which it was
 * last heard from: it takes that for silence. So did the recorded node on this reply, after a down
 * hint; who is in the table is the control plane's matter, not the responder's.
 */
const FORGOTTEN = new Set(['dht-rpc-6.27.0 79']);

interface Sent {
  readonly to: string;
  readonly bytes: Buffer;
}

/** One recorded node, and ours in its place. */
class Replay {
  readonly harness: DhtHarness;
  readonly address: string;
  /** Tokens the recorded node gave, and whom. */
  readonly #tokens = new Map<string, string>();
  readonly #reader = new RequestReader();

  constructor(address: string) {
    this.address = address;
    this.harness = new DhtHarness({ ...addressOf(address), isPrivate: true });
  }

  /** The node hears a datagram: who shows the right id is in its table from now on. */
  hear(datagram: DhtVector): void {
    const bytes = Buffer.from(datagram.hex, 'hex');
    if (!isMessage(bytes) || (bytes[1] & FLAG_ID) === 0) return;
    const from = addressOf(datagram.src);
    const id = bytes.subarray(HEAD_BYTES, HEAD_BYTES + ID_BYTES);
    if (id.equals(nodeId(from.host, from.port))) this.harness.know(from);
  }

  forget(datagram: DhtVector): void {
    const { host, port } = addressOf(datagram.src);
    this.harness.table.remove(nodeId(host, port));
  }

  /** The recorded node sends: its tokens are noted. */
  say(datagram: DhtVector): void {
    const bytes = Buffer.from(datagram.hex, 'hex');
    if (bytes[0] !== REPLY_BYTE || (bytes[1] & FLAG_TOKEN) === 0) return;
    const at = tokenAt(bytes);
    this.#tokens.set(bytes.toString('hex', at, at + TOKEN_BYTES), datagram.dst);
  }

  /** What ours sends in answer to a recorded request. */
  answer(datagram: DhtVector): Sent[] {
    const { harness } = this;
    const from = addressOf(datagram.src);
    const bytes = Buffer.from(datagram.hex, 'hex');
    const reader = this.#reader;
    const verdict = checkSignature(bytes, 0, bytes.length, harness.id) ? 'genuine' : 'forged';
    if (reader.read(bytes, 0, bytes.length) && reader.tokenStart >= 0) {
      const at = reader.tokenStart;
      const whose = this.#tokens.get(bytes.toString('hex', at, at + TOKEN_BYTES));
      if (whose !== undefined && addressOf(whose).host === from.host) {
        bytes.set(harness.token(from), at);
      }
    }
    const reply = harness.exchange(bytes, from, { verdict });
    const { host, port } = harness.repliedTo;
    const sent = reply === null ? [] : [{ to: `${host}:${port}`, bytes: Buffer.from(reply) }];
    harness.advance(LATER_MS);
    for (const own of harness.takeOwn()) {
      sent.push({ to: `${own.to.host}:${own.to.port}`, bytes: Buffer.from(own.bytes) });
    }
    return sent;
  }
}

function addressOf(text: string): NodeAddress {
  const [host, port] = text.split(':');
  return { host, port: Number(port) };
}

function isMessage(bytes: Uint8Array): boolean {
  return bytes[0] === REQUEST_BYTE || bytes[0] === REPLY_BYTE;
}

function tokenAt(bytes: Uint8Array): number {
  return HEAD_BYTES + ((bytes[1] & FLAG_ID) === 0 ? 0 : ID_BYTES);
}

/** Without the token's bytes, which are another's secret. */
function tokenless(bytes: Buffer): string {
  const copy = Buffer.from(bytes);
  const at = tokenAt(copy);
  if ((copy[1] & FLAG_TOKEN) !== 0) copy.fill(0, at, at + TOKEN_BYTES);
  return copy.toString('hex');
}

/** What the recorded node sent for a request: the next datagram with its transaction id. */
function answerTo(all: readonly DhtVector[], index: number): DhtVector | null {
  const asked = all[index];
  for (let i = index + 1; i < all.length; i++) {
    const sent = all[i];
    if (sent.src === asked.dst && sent.hex.slice(4, 8) === asked.hex.slice(4, 8)) return sent;
  }
  return null;
}

/** Whether the node sends anything from here on: some were stopped during the recording. */
function isUp(all: readonly DhtVector[], index: number, node: string): boolean {
  return all.slice(index).some(({ src }) => src === node);
}

/** Whether the request is for the node itself, not for a program's own handler. */
function isOurs(bytes: Buffer, isHyper: boolean): boolean {
  const reader = new RequestReader();
  if (!reader.read(bytes, 0, bytes.length)) return false;
  return isHyper || (bytes[1] & FLAG_INTERNAL) !== 0;
}

for (const file of VECTOR_FILES) {
  describe(`the recorded requests of ${file}`, () => {
    const all = loadDhtVectors(file);
    const isHyper = file.startsWith('hyperdht');
    const nodes = new Map<string, Replay>();
    for (const { src, hex } of all) {
      const bytes = Buffer.from(hex, 'hex');
      const shows = bytes[0] === REPLY_BYTE && (bytes[1] & FLAG_ID) !== 0;
      if (shows && !nodes.has(src)) nodes.set(src, new Replay(src));
    }
    all.forEach((datagram, index) => {
      const node = nodes.get(datagram.dst);
      nodes.get(datagram.src)?.say(datagram);
      const request = Buffer.from(datagram.hex, 'hex');
      node?.hear(datagram);
      if (FORGOTTEN.has(`${file} ${index}`)) node?.forget(datagram);
      if (node === undefined || request[0] !== REQUEST_BYTE || !isOurs(request, isHyper)) return;
      if (!isUp(all, index, datagram.dst)) return;
      const sent = node.answer(datagram);
      const recorded = answerTo(all, index);
      test(`${index}: ${datagram.name} at ${datagram.dst}`, () => {
        const expected = recorded === null ? [] : [recorded];
        assert.deepEqual(
          sent.map(({ to, bytes }) => `${to} ${tokenless(bytes)}`),
          expected.map(({ dst, hex }) => `${dst} ${tokenless(Buffer.from(hex, 'hex'))}`),
        );
      });
    });
  });
}
