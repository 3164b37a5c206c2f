/**
 * The same requests, of every command, whole and defective, to npm hyperdht 6.34.0 and to our
 * responder set up as that node: the same replies, relayed messages and silences, byte by byte, but
 * for the tokens. Left out is what differs on purpose: what a client may name to be relayed to, and
 * what comes after a delay.
 */
import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import type { NodeAddress } from '../../../codecs/dht/address.ts';
import { COMMAND, INTERNAL, RELAY_MODE } from '../../../codecs/dht/constants.ts';
import {
  decodeLookupReply,
  encodeAnnounce,
  encodeHandshake,
  encodeHolepunch,
  encodeMutablePut,
  encodePeer,
} from '../../../codecs/dht/hyper-messages.ts';
import {
  type DhtRequest,
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
} from '../../../codecs/dht/message.ts';
import { announceSignable, mutableSignable, NAMESPACE } from '../../../codecs/dht/namespaces.ts';
import { nodeId } from '../../../codecs/dht/node-id.ts';
import { writeVarint } from '../../../codecs/dht/varint.ts';
import { Rng } from '../../../workers/rng.ts';
import { type Asked, DhtHarness } from '../../helpers/dht-harness.ts';
import { Hyperdht, type OriginalHyperdht } from '../../helpers/original-dht.ts';
import { sign } from '../../helpers/signing.ts';
import { hash, keyPair, topic } from './fixture.ts';

const SEED = Number(process.env.FUZZ_SEED ?? 1);
const REQUESTS = 3000;
/** The original's tokens hold for 7.5 seconds at least. */
const TOKEN_AGE_MS = 3000;
const NODES = 40;
/** Loopback loses datagrams, if seldom: what is not answered within so long is sent again. */
const RESEND_MS = 1000;
const TRIES = 5;

type OriginalNode = OriginalHyperdht & { addNode(node: NodeAddress): void };

/** What a node makes of a request: its datagrams, in their order. */
type Ask = (request: DhtRequest) => Promise<Uint8Array[]>;

/** The original on loopback, asked from one socket, which also is every peer it relays to. */
class Peer {
  readonly socket: Socket;
  readonly address: NodeAddress;
  readonly #received: Uint8Array[] = [];
  #wake: () => void = () => {};
  #tid = 0;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.address = { host: '127.0.0.1', port: socket.address().port };
    socket.on('message', (bytes) => {
      this.#received.push(Uint8Array.from(bytes));
      this.#wake();
    });
  }

  static async open(): Promise<Peer> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new Peer(socket);
  }

  /**
   * What the node makes of the request: the ping behind it is answered after it, if it is answered
   * at all. Both are sent again when that answer does not come.
   */
  async ask(request: DhtRequest, node: NodeAddress, resendMs = RESEND_MS): Promise<Uint8Array[]> {
    const tid = 0x8000 | (this.#tid++ & 0x7fff);
    const nothing = { id: null, token: null, target: null, value: null };
    const ping = { tid, to: node, isInternal: true, command: INTERNAL.PING, ...nothing };
    for (let i = 0; i < TRIES; i++) {
      this.socket.send(encodeRequest(request), node.port, node.host);
      this.socket.send(encodeRequest(ping), node.port, node.host);
      const received = await this.#receive(request.tid, tid, resendMs);
      if (received !== null) return received;
    }
    throw new Error(`no answer in ${TRIES} tries to ${JSON.stringify(request, bytesAsHex)}`);
  }

  /** What comes of the request before the ping's answer; null when that does not come. */
  async #receive(tid: number, pingTid: number, timeoutMs: number): Promise<Uint8Array[] | null> {
    const received: Uint8Array[] = [];
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.#wake();
    }, timeoutMs);
    try {
      while (!isLate) {
        const bytes = this.#received.shift();
        const answered = bytes === undefined ? -1 : bytes[2] | (bytes[3] << 8);
        if (bytes === undefined) await new Promise<void>((wake) => (this.#wake = wake));
        else if (bytes[0] === 0x13 && answered === pingTid) return received;
        // What comes late, of a request before this one, has another id. The original pings those
        // it believes to know.
        else if (answered !== tid) continue;
        else if (bytes[0] === 0x13 || decodeRequest(bytes)?.isInternal === false) {
          received.push(bytes);
        }
      }
      return null;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Random requests; what they sign depends on the token, so each is made for one node. */
class Requests {
  readonly #rng = new Rng(SEED);
  readonly #id: Uint8Array;
  readonly #own: NodeAddress;
  #seq = 0;

  constructor(id: Uint8Array, own: NodeAddress) {
    this.#id = id;
    this.#own = own;
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#rng.below(items.length)];
  }

  #chance(oneIn: number): boolean {
    return this.#rng.below(oneIn) === 0;
  }

  /** The next request, to be completed by a token. */
  next(tid: number): (token: Uint8Array) => Asked {
    const makers = [
      () => this.#internal(),
      () => this.#read(),
      () => this.#announce(),
      () => this.#announce(),
      () => this.#immutable(),
      () => this.#mutable(),
      () => this.#relayed(),
      () => this.#unknown(),
    ];
    const make = this.#pick(makers)();
    const spoil = this.#spoil();
    return (token) => spoil({ tid, ...make(token) }, token);
  }

  /** Leaves things out, adds things, and makes them wrong, at times. */
  #spoil(): (asked: Asked, token: Uint8Array) => Asked {
    const kind = this.#rng.below(16);
    const cut = this.#rng.below(100);
    return (asked, token) => {
      if (kind === 0) return { ...asked, target: null };
      if (kind === 1) return { ...asked, value: null };
      if (kind === 2) return { ...asked, token: null };
      if (kind === 3) return { ...asked, token: topic(cut) };
      if (kind === 4) return { ...asked, token };
      if (kind === 5) return { ...asked, id: topic(cut) };
      if (kind === 6 && asked.value) return { ...asked, value: asked.value.subarray(0, cut) };
      if (kind === 7 && asked.value)
        return { ...asked, value: Uint8Array.from([...asked.value, cut]) };
      return asked;
    };
  }

  #internal(): () => Asked {
    const command = this.#pick([INTERNAL.PING, INTERNAL.PING_NAT, INTERNAL.FIND_NODE, 5, 99, 300]);
    const { port } = this.#own;
    const value = command === INTERNAL.PING_NAT ? Uint8Array.of(port, port >> 8) : null;
    const target = this.#chance(4) ? null : this.#random32();
    return () => ({ command, isInternal: true, target, value });
  }

  #random32(): Uint8Array {
    return new Uint8Array(32).map(() => this.#rng.below(256));
  }

  #topic(): Uint8Array {
    return this.#chance(3)
      ? hash(keyPair(this.#rng.below(4)).publicKey)
      : topic(this.#rng.below(4));
  }

  #read(): () => Asked {
    const command = this.#pick([COMMAND.FIND_PEER, COMMAND.LOOKUP]);
    const target = this.#topic();
    return () => ({ command, target });
  }

  #announce(): (token: Uint8Array) => Asked {
    const number = this.#rng.below(4);
    const pair = keyPair(number);
    const target = this.#topic();
    const command = this.#chance(4) ? COMMAND.UNANNOUNCE : COMMAND.ANNOUNCE;
    // The original keeps the first relays of a peer for minutes: each has its own here.
    const relays = [this.#own, this.#own, this.#own, this.#own].slice(0, number);
    const secret = topic(this.#rng.below(2));
    const refresh = this.#chance(4) ? hash(secret) : null;
    if (this.#chance(6)) {
      const value = encodeAnnounce({ peer: null, refresh: secret, signature: null, bump: 0 });
      return (token) => ({ command: COMMAND.ANNOUNCE, target: topic(0), token, value });
    }
    const isWrong = this.#chance(10);
    const peer = { publicKey: pair.publicKey, relayAddresses: relays };
    const isAnnounce = command === COMMAND.ANNOUNCE;
    const namespace = isAnnounce ? NAMESPACE.ANNOUNCE : NAMESPACE.UNANNOUNCE;
    return (token) => {
      const encoded = encodePeer(peer);
      const signable = announceSignable(namespace, target, this.#id, token, encoded, refresh);
      const signature = sign(signable, (isWrong ? keyPair(99) : pair).secretKey);
      // Refresh tokens are of one topic: for another target the original renews the first one.
      const isKept = refresh === null || target[0] === 0;
      const value = encodeAnnounce({ peer, refresh, signature, bump: 0 });
      return { command: isKept ? command : COMMAND.UNANNOUNCE, target, token, value };
    };
  }

  #immutable(): (token: Uint8Array) => Asked {
    const value = new Uint8Array(this.#pick([0, 1, 100, 252, 253, 1000])).fill(this.#rng.below(3));
    const target = hash(value);
    if (this.#chance(2)) return () => ({ command: COMMAND.IMMUTABLE_GET, target });
    return (token) => ({ command: COMMAND.IMMUTABLE_PUT, target, token, value });
  }

  #mutable(): (token: Uint8Array) => Asked {
    const pair = keyPair(this.#rng.below(3));
    const target = hash(pair.publicKey);
    const seq = Math.max(0, this.#seq + this.#rng.below(4) - 2);
    if (this.#chance(2)) {
      const bytes = new Uint8Array(9);
      const value = bytes.subarray(0, writeVarint(bytes, 0, seq));
      return () => ({ command: COMMAND.MUTABLE_GET, target, value });
    }
    if (this.#chance(4)) this.#seq += this.#pick([1, 1, 100]);
    const data = new Uint8Array(this.#pick([0, 5, 300])).fill(this.#rng.below(2));
    const signer = this.#chance(10) ? keyPair(99) : pair;
    const signature = sign(mutableSignable(seq, data), signer.secretKey);
    const { publicKey } = pair;
    const value = encodeMutablePut({ publicKey, seq, value: data, signature });
    return (token) => ({ command: COMMAND.MUTABLE_PUT, target, token, value });
  }

  /** To a server that announced itself from the one address there is, or to nobody. */
  #relayed(): () => Asked {
    const target = this.#chance(4) ? this.#topic() : hash(keyPair(this.#rng.below(4)).publicKey);
    const { FROM_CLIENT, FROM_RELAY, REPLY } = RELAY_MODE;
    const mode = this.#pick([FROM_CLIENT, FROM_CLIENT, FROM_CLIENT, FROM_RELAY, REPLY, 3, 9]);
    const peerAddress = mode === RELAY_MODE.FROM_RELAY && this.#chance(2) ? this.#own : null;
    const noise = this.#random32();
    if (this.#chance(2)) {
      const value = encodeHandshake({ mode, noise, peerAddress, relayAddress: null });
      return () => ({ command: COMMAND.PEER_HANDSHAKE, target, value });
    }
    const id = this.#pick([0, 300]);
    const value = encodeHolepunch({ mode, id, payload: noise, peerAddress });
    return () => ({ command: COMMAND.PEER_HOLEPUNCH, target, value });
  }

  #unknown(): () => Asked {
    const command = this.#pick([COMMAND.PLUGIN, 11, 200, 253, 70_000]);
    const target = this.#random32();
    return () => ({ command, target, value: topic(1) });
  }
}

/** A datagram as text: the token blank, a lookup's peers in an order. */
function asText(bytes: Uint8Array, command: number): string {
  if (bytes[0] === 0x03) return Buffer.from(bytes).toString('hex');
  const reply = decodeReply(bytes);
  assert.ok(reply !== null, 'a readable reply');
  const copy = Buffer.from(bytes);
  if (reply.token !== null) copy.fill(0, reply.id ? 42 : 10, reply.id ? 74 : 42);
  if (command !== COMMAND.LOOKUP || reply.value === null) return copy.toString('hex');
  const { peers = [], bump } = decodeLookupReply(reply.value) ?? {};
  const sorted = peers.map((peer) => Buffer.from(encodePeer(peer)).toString('hex')).sort();
  const head = copy.subarray(0, copy.length - reply.value.length).toString('hex');
  return `${head} ${bump} ${sorted.join(' ')}`;
}

async function tokenOf(ask: Ask): Promise<Uint8Array> {
  const command = COMMAND.FIND_PEER;
  const nothing = { id: null, token: null, value: null, isInternal: false };
  const to = { host: '127.0.0.1', port: 1 };
  const [bytes] = await ask({ tid: 1, to, command, target: topic(255), ...nothing });
  const token = decodeReply(bytes)?.token;
  assert.ok(token);
  return token;
}

test(`requests get what hyperdht 6.34.0 answers (seed ${SEED})`, { timeout: 60_000 }, async (t) => {
  const peer = await Peer.open();
  t.after(() => peer.socket.close());
  const probe = await Peer.open();
  const address = { host: '127.0.0.1', port: probe.address.port };
  probe.socket.close();
  const original = Hyperdht.bootstrapper(address.port, address.host) as OriginalNode;
  t.after(() => original.destroy());
  await original.fullyBootstrapped();
  const harness = new DhtHarness({ ...address, isPrivate: true, limits: { mutables: 1000 } });
  for (let i = 0; i < NODES; i++) {
    const node = { host: '127.0.0.1', port: 10_000 + i };
    original.addNode(node);
    harness.know(node);
  }
  const theirs: Ask = (request) => peer.ask(request, address);
  const ours: Ask = async (request) => {
    const reply = harness.exchange(encodeRequest(request), peer.address);
    const own = harness.takeOwn().map(({ bytes }) => bytes);
    return reply === null ? own : [reply, ...own];
  };
  const requests = new Requests(nodeId(address.host, address.port), peer.address);
  const answered = new Map<string, number>();
  let tokens: Uint8Array[] = [];
  let tokensFrom = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < REQUESTS; i++) {
    if (performance.now() - tokensFrom > TOKEN_AGE_MS) {
      tokens = [await tokenOf(theirs), await tokenOf(ours)];
      tokensFrom = performance.now();
    }
    const make = requests.next(i);
    const asked = tokens.map((token) => harness.request({ ...make(token), tid: i, to: address }));
    const expected = (await theirs(asked[0])).map((bytes) => asText(bytes, asked[0].command));
    const found = (await ours(asked[1])).map((bytes) => asText(bytes, asked[0].command));
    const what = JSON.stringify(asked[1], bytesAsHex);
    assert.deepEqual(found, expected, `request ${i} of seed ${SEED}: ${what}`);
    const kind = `${asked[0].isInternal ? 'internal ' : ''}${asked[0].command}`;
    answered.set(kind, (answered.get(kind) ?? 0) + expected.length);
  }
  for (let command = 0; command < COMMAND.PLUGIN; command++) {
    assert.ok((answered.get(`${command}`) ?? 0) > 5, `answers to command ${command}`);
  }
});

test('a datagram that is lost is sent again, and what is never answered is named', async (t) => {
  const peer = await Peer.open();
  t.after(() => peer.socket.close());
  const node = createSocket('udp4');
  t.after(() => node.close());
  node.bind(0, '127.0.0.1');
  await once(node, 'listening');
  const address = { host: '127.0.0.1', port: node.address().port };
  let lost = 2;
  node.on('message', (bytes, { port }) => {
    if (lost-- > 0) return;
    const tid = bytes[2] | (bytes[3] << 8);
    const nothing = { id: null, token: null, closerNodes: [], error: 0, value: null };
    node.send(encodeReply({ tid, to: peer.address, ...nothing }), port);
  });
  const nothing = { id: null, token: null, target: topic(1), value: null, isInternal: false };
  const request = { tid: 77, to: address, command: COMMAND.LOOKUP, ...nothing };
  const received = await peer.ask(request, address, 50);
  assert.deepEqual(
    received.map((bytes) => decodeReply(bytes)?.tid),
    [77],
  );
  lost = Number.POSITIVE_INFINITY;
  await assert.rejects(peer.ask(request, address, 5), /no answer in 5 tries to .*"tid":77/);
});

/** For JSON. */
function bytesAsHex(_: string, value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
}
