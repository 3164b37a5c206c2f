/** A DHT node under load: what it was filled with, its id and the tokens it gave. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { NodeAddress } from '../../codecs/dht/address.ts';
import { decodeReply } from '../../codecs/dht/message.ts';
import { DhtGenerator } from './dht-generator.ts';
import {
  announceAll,
  DhtTokenBook,
  findNode,
  firstPut,
  idOf,
  immutableGet,
  immutablePut,
  lookup,
  ping,
  Targets,
} from './dht-requests.ts';
import { GENTLE_WINDOW, SOURCES } from './generator.ts';
import { LineQueue } from './line-queue.ts';
import { note, type RunningServer } from './processes.ts';

/** Targets that lookups go round: of one peer each, and of 20. */
export const LONELY = new Targets('one peer', 256);
export const CROWDED = new Targets('20 peers', 64);
const CROWD = 20;
/** Values that gets go round. */
export const FILLED = firstPut(256);
export const RANDOM = new Targets('find node', 4096);

/** Nodes of the network around the servers: enough to fill more than five buckets of 20. */
const NETWORK_NODES = 800;
/** Tables are not worth measuring with fewer. */
export const LEAST_NODES = 100;
const PATIENCE_SECONDS = 20;

export interface DhtSubject {
  readonly server: RunningServer;
  readonly address: NodeAddress;
  readonly generator: DhtGenerator;
  readonly tokens: DhtTokenBook;
  nodeId: Uint8Array;
}

export function newDhtSubject(server: RunningServer): DhtSubject {
  return {
    server,
    address: { host: '127.0.0.1', port: server.port },
    generator: new DhtGenerator('127.0.0.1', server.port),
    tokens: new DhtTokenBook(),
    nodeId: new Uint8Array(32),
  };
}

/** Starts the nodes around the servers; resolves when each server has heard of all of them. */
export async function startNetwork(servers: readonly RunningServer[]): Promise<ChildProcess> {
  const script = fileURLToPath(new URL('./dht-crowd.ts', import.meta.url));
  const args = [NETWORK_NODES, ...servers.map(({ port }) => port)].map(String);
  const child = spawn(process.execPath, ['--import', 'tsx', script, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  note(`a network of ${NETWORK_NODES} nodes introduces itself`);
  const lines = new LineQueue(createInterface({ input: child.stdout }));
  child.once('exit', (code) => lines.end(`the network exited with ${code}`));
  await lines.next();
  return child;
}

/** How many nodes the server's table has at least: those it tells when asked for many targets. */
export function tableSize({ generator, address }: DhtSubject): number {
  const seen = new Set<string>();
  const write = findNode(address, RANDOM);
  const onAnswer = (bytes: Uint8Array, start: number, length: number): void => {
    for (const { host, port } of decodeReply(bytes, start, length)?.closerNodes ?? []) {
      seen.add(`${host}:${port}`);
    }
  };
  const flow = { write, window: GENTLE_WINDOW, onAnswer };
  generator.run([flow], PATIENCE_SECONDS, RANDOM.count);
  return seen.size;
}

/** Learns every source's token anew: the originals' are good for 7.5 seconds only. */
export function learnDhtTokens({ generator, server, address, tokens }: DhtSubject): void {
  tokens.known.fill(0);
  const write = immutableGet(address, FILLED);
  for (let tries = 0; tokens.known.includes(0); tries++) {
    if (tries === 20) throw new Error(`${server.name} does not give all sources tokens`);
    const onAnswer = (bytes: Uint8Array, start: number, _length: number, source: number): void =>
      tokens.learn(bytes, start, source);
    generator.run([{ write, window: GENTLE_WINDOW, onAnswer }], 5, SOURCES);
  }
}

function learnId(subject: DhtSubject): void {
  const { generator, server, address } = subject;
  let found: Uint8Array | null = null;
  const onAnswer = (bytes: Uint8Array, start: number): void => {
    found ??= idOf(bytes, start);
  };
  generator.run([{ write: ping(address), window: 1, onAnswer }], PATIENCE_SECONDS, 1);
  if (found === null) throw new Error(`${server.name} tells no id`);
  subject.nodeId = found;
}

/** Announces and puts what lookups and gets will find, and looks whether they do. */
export function populateDht(subject: DhtSubject): void {
  const { generator, server, address, tokens } = subject;
  learnId(subject);
  learnDhtTokens(subject);
  const announcer = { to: address, nodeId: subject.nodeId, tokens };
  for (const [targets, perTarget] of [
    [LONELY, 1],
    [CROWDED, CROWD],
  ] as const) {
    const { write, count } = announceAll(announcer, targets, perTarget);
    note(`${server.name}: ${count} announces`);
    generator.run([{ write, window: GENTLE_WINDOW }], PATIENCE_SECONDS, count);
    learnDhtTokens(subject);
  }
  putFilled(subject);
  assertFound(subject, 'lookup', lookup(address, LONELY), LONELY.count);
  assertFound(subject, 'lookup of many', lookup(address, CROWDED), CROWDED.count);
  assertFound(subject, 'get', immutableGet(address, FILLED), FILLED.count);
}

/** Puts what gets will find, which other puts may have pushed out. */
export function putFilled(subject: DhtSubject): void {
  learnDhtTokens(subject);
  const { generator, address, tokens } = subject;
  const put = { write: immutablePut(address, tokens), window: GENTLE_WINDOW };
  generator.run([put], PATIENCE_SECONDS, FILLED.count);
}

function assertFound(
  { generator, server }: DhtSubject,
  what: string,
  write: ReturnType<typeof ping>,
  count: number,
): void {
  let found = 0;
  const onAnswer = (bytes: Uint8Array, start: number, length: number): void => {
    if (decodeReply(bytes, start, length)?.value != null) found++;
  };
  const [{ answers }] = generator.run([{ write, window: 16, onAnswer }], 5, count);
  if (found < answers || answers < count) {
    throw new Error(`${server.name}: a ${what} finds ${found} of ${count}, ${answers} answers`);
  }
}
