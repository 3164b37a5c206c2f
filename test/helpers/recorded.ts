/**
 * The recorded datagrams of npm dns-discovery 6.2.3 (test/vectors/dns-discovery.json), in their
 * order, and when an answer of ours means what the recorded one does.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { DOMAIN, type Endpoint, type Packet, peersOf, txtOf } from './lane-harness.ts';

export interface Recorded {
  readonly name: string;
  readonly direction: string;
  readonly src: string;
  readonly dst: string;
  readonly hex: string;
}

export const RECORDED = JSON.parse(
  readFileSync(new URL('../vectors/dns-discovery.json', import.meta.url), 'utf8'),
) as Recorded[];

/** What the recording server was given by hand: peers 10.0.0.1:20000 and up of each name. */
export const CROWDS: readonly (readonly [id: string, count: number])[] = [
  ['many', 60],
  ['many1', 1],
  ['many30', 30],
  ['many31', 31],
  ['many32', 32],
  ['many40', 40],
  ['many41', 41],
  ['many100', 100],
];
/** The port of the peer at 10.0.0.1. */
export const FIRST_CROWD_PORT = 20_000;

/** The most services the original tells. */
const ORIGINAL_RECORDS = 10;
const TOKEN_TEXT = /token=([A-Za-z0-9+/]{43}=)/;

export function endpoint(text: string): Endpoint {
  const colon = text.lastIndexOf(':');
  return { address: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
}

export function bytesOf(recorded: Recorded): Buffer {
  return Buffer.from(recorded.hex, 'hex');
}

/** The query with a token of ours in the place of the recorded one, if it has one. */
export function withToken(query: Buffer, token: () => string): Buffer {
  const text = query.toString('latin1').replace(TOKEN_TEXT, () => `token=${token()}`);
  return Buffer.from(text, 'latin1');
}

export type Kind = 'query' | 'response' | 'defective' | 'push' | 'acknowledgement' | 'multicast';

export function kindOf(recorded: Recorded): Kind {
  if (recorded.direction.startsWith('host->')) return 'multicast';
  const isResponse = (bytesOf(recorded)[2] & 0x80) !== 0;
  if (recorded.direction === 'client->server') return isResponse ? 'acknowledgement' : 'query';
  if (!isResponse) return 'push';
  return recorded.name.includes('malformed') ? 'defective' : 'response';
}

/** In what a live server's answers may differ from the recorded ones. */
export interface Differences {
  /** The asker's own port, which a probe tells. */
  readonly port?: number;
  /** Peers of a crowd have other addresses and are counted only. */
  readonly crowdsElsewhere?: boolean;
  /** By TCP a crowd's services are all told. */
  readonly services?: number;
}

/** Asserts that `ours` means what `theirs`, the recorded response, does. */
export function assertSameMeaning(
  ours: Packet,
  theirs: Packet,
  recorded: Recorded,
  differences: Differences = {},
): void {
  const where = `${recorded.name} ${recorded.hex.slice(0, 4)}`;
  assert.equal(ours.id, theirs.id, where);
  assert.deepEqual(ours.questions, theirs.questions, where);
  const name = ours.questions?.[0].name ?? '';
  if (ours.rcode === 'REFUSED') {
    assert.ok(!name.endsWith(DOMAIN), where);
    assert.equal(theirs.answers?.length, 0, where);
    return;
  }
  const isElsewhere = differences.crowdsElsewhere === true && name.startsWith('many');
  assertSameKinds(ours, theirs, differences.services ?? ORIGINAL_RECORDS, where);
  const [oursPeers, theirsPeers] = [peersOf(ours).sort(), peersOf(theirs).sort()];
  if (isElsewhere) assert.equal(oursPeers.length, theirsPeers.length, where);
  else assert.deepEqual(oursPeers, theirsPeers, where);
  const [oursTxt, theirsTxt] = [txtOf(ours), txtOf(theirs)];
  assert.deepEqual([...oursTxt.keys()], [...theirsTxt.keys()], where);
  assert.equal(oursTxt.get('token')?.length, theirsTxt.get('token')?.length, where);
  assert.equal(oursTxt.get('host'), theirsTxt.get('host'), where);
  const port = differences.port?.toString() ?? theirsTxt.get('port');
  assert.equal(oursTxt.get('port'), theirsTxt.has('port') ? port : undefined, where);
  for (const answer of theirs.answers ?? []) {
    if (answer.type === 'A' || (answer.type === 'SRV' && !answer.name.startsWith('many'))) {
      assert.deepEqual(ours.answers?.[0], answer, where);
    }
  }
}

/** The same types and TTLs; of a crowd's services, `services` of them. */
function assertSameKinds(ours: Packet, theirs: Packet, services: number, where: string): void {
  const kinds = (packet: Packet) =>
    (packet.answers ?? []).map((answer) => `${answer.type} ${'ttl' in answer && answer.ttl}`);
  const expected = kinds(theirs);
  if (expected.length === ORIGINAL_RECORDS) {
    assert.deepEqual(kinds(ours), Array(services).fill(expected[0]), where);
  } else {
    assert.deepEqual(kinds(ours), expected, where);
  }
}

/** Asserts that `ours` betters an answer of the original that nobody can read. */
export function assertBetter(ours: Packet): void {
  assert.ok(peersOf(ours).length >= 31, 'the original answers with garbage, we with 31 peers');
}
