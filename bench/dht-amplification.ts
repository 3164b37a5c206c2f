/**
 * `npm run bench -- dht-amplification`: how many bytes a DHT node sends for each byte of a request
 * whose source has proven nothing, command by command, ours (with its usual limits) against npm
 * hyperdht: of a single request, and of a flood from 16 networks of 256 addresses. Whatever comes
 * back counts, to any of the sources, answers and requests alike, with IP and UDP headers.
 */
import process from 'node:process';
import { parseArgs } from 'node:util';
import { encodeAddress, hostToU32 } from '../codecs/dht/address.ts';
import { COMMAND, INTERNAL, RELAY_MODE } from '../codecs/dht/constants.ts';
import { encodeHandshake, encodeHolepunch } from '../codecs/dht/hyper-messages.ts';
import { type DhtRequest, encodeRequest } from '../codecs/dht/message.ts';
import { type DhtFlow, DhtGenerator } from './load/dht-generator.ts';
import {
  CROWDED,
  type DhtSubject,
  FILLED,
  newDhtSubject,
  populateDht,
  startNetwork,
} from './load/dht-subject.ts';
import type { WriteRequest } from './load/generator.ts';
import { note, reexecPinned, startServer, stopServer } from './load/processes.ts';
import { formatTable } from './table.ts';

const HEADER_BYTES = 28;
/** Far beyond what the budget of a network allows. */
const FLOOD_RATE = 16_000;
/** Second bytes of networks that have proven nothing: new ones for each flood and request. */
const FIRST_FLOOD = 65;
const FIRST_SINGLE = 100;
const SINGLE_SECONDS = 0.5;
const VICTIM = '127.60.0.9';
const NOISE = new Uint8Array(116).fill(1);
const TARGET = CROWDED.at(0);

type Attack = Partial<DhtRequest>;

const EMPTY = {
  tid: 0,
  id: null,
  token: null,
  isInternal: false,
  command: 0,
  target: null,
  value: null,
};

/**
 * Requests as an attacker would make them: valid ones that draw as much as they can, to itself and
 * to others at `port`.
 */
function attacks(port: number): Record<string, Attack> {
  const victim = { host: VICTIM, port };
  const handshake = { mode: RELAY_MODE.FROM_CLIENT, noise: NOISE, peerAddress: null };
  const punch = { mode: RELAY_MODE.FROM_SERVER, id: 1, payload: NOISE, peerAddress: victim };
  const internal = { isInternal: true };
  const portBytes = encodeAddress(victim).subarray(4);
  const value = new Uint8Array(32);
  return {
    PING: { ...internal, command: INTERNAL.PING },
    PING_NAT: { ...internal, command: INTERNAL.PING_NAT, value: portBytes },
    FIND_NODE: { ...internal, command: INTERNAL.FIND_NODE, target: TARGET },
    DOWN_HINT: { ...internal, command: INTERNAL.DOWN_HINT, value: new Uint8Array(6) },
    DELAYED_PING: {
      ...internal,
      command: INTERNAL.DELAYED_PING,
      value: Uint8Array.of(50, 0, 0, 0),
    },
    'unknown internal': { ...internal, command: 99, target: TARGET },
    PEER_HANDSHAKE: {
      command: COMMAND.PEER_HANDSHAKE,
      target: TARGET,
      value: encodeHandshake({ ...handshake, relayAddress: victim }),
    },
    'PEER_HANDSHAKE, unknown target': {
      command: COMMAND.PEER_HANDSHAKE,
      target: TARGET,
      value: encodeHandshake({ ...handshake, noise: new Uint8Array(), relayAddress: null }),
    },
    PEER_HOLEPUNCH: {
      command: COMMAND.PEER_HOLEPUNCH,
      target: TARGET,
      value: encodeHolepunch(punch),
    },
    FIND_PEER: { command: COMMAND.FIND_PEER, target: TARGET },
    LOOKUP: { command: COMMAND.LOOKUP, target: TARGET },
    ANNOUNCE: { command: COMMAND.ANNOUNCE, target: TARGET, value },
    UNANNOUNCE: { command: COMMAND.UNANNOUNCE, target: TARGET, value },
    MUTABLE_PUT: { command: COMMAND.MUTABLE_PUT, target: TARGET, value },
    MUTABLE_GET: { command: COMMAND.MUTABLE_GET, target: TARGET, value: Uint8Array.of(0) },
    IMMUTABLE_PUT: { command: COMMAND.IMMUTABLE_PUT, target: TARGET, value },
    IMMUTABLE_GET: { command: COMMAND.IMMUTABLE_GET, target: FILLED.at(0) },
    PLUGIN: { command: COMMAND.PLUGIN, target: TARGET, value },
    'unknown command': { command: 99, target: TARGET },
    'wrong token': { command: COMMAND.LOOKUP, target: TARGET, token: new Uint8Array(32) },
  };
}

export async function benchDhtAmplification(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: { seconds: { type: 'string', default: '2' } },
  });
  const pinnedStatus = reexecPinned();
  if (pinnedStatus !== null) return pinnedStatus;
  const serve = ['server/cli/main.ts', 'serve', '--dns', 'off', '--dht', '127.0.0.1:0'];
  const servers = [
    await startServer('waypost', [...serve, '--dht-private', '--workers', '0']),
    await startServer('hyperdht 6.34.0', ['bench/rivals/hyperdht.mjs']),
  ];
  const subjects = servers.map(newDhtSubject);
  const network = await startNetwork(servers);
  try {
    for (const subject of subjects) populateDht(subject);
    const rows = Object.keys(attacks(0)).map((name, i) => {
      note(name);
      return [name, ...subjects.flatMap((one) => measure(one, name, i, Number(values.seconds)))];
    });
    process.stdout.write(`${formatTable([HEAD, ...rows])}\n${NOTES}`);
  } finally {
    for (const server of servers) stopServer(server);
    network.kill('SIGKILL');
  }
  return 0;
}

const HEAD = ['command', 'waypost: one', 'flood', 'hyperdht 6.34.0: one', 'flood'];
const NOTES =
  'bytes sent per byte received, headers counted; in brackets without them\n' +
  `one: a single request; flood: ${FLOOD_RATE} a second from 16 networks of 256 addresses\n`;

function measure(
  { address, server }: DhtSubject,
  name: string,
  index: number,
  seconds: number,
): [string, string] {
  const run = (second: number, flow: Omit<DhtFlow, 'write'>, spanSeconds: number): string => {
    const generator = new DhtGenerator('127.0.0.1', server.port, hostToU32(`127.${second}.0.0`));
    generator.napping = true;
    const request = encodeRequest({ ...EMPTY, to: address, ...attacks(generator.port)[name] });
    const write: WriteRequest = (bytes, start) => {
      bytes.set(request, start);
      return request.length;
    };
    const [{ sent }] = generator.run([{ write, ...flow }], spanSeconds);
    const { datagrams, bytes } = generator.received;
    generator.close();
    const counted = (bytes + HEADER_BYTES * datagrams) / (sent * (request.length + HEADER_BYTES));
    return `${counted.toFixed(2)} (${(bytes / (sent * request.length)).toFixed(2)})`;
  };
  return [
    run(FIRST_SINGLE + index, { window: 1, most: 1 }, SINGLE_SECONDS),
    run(FIRST_FLOOD + index, { rate: FLOOD_RATE }, seconds),
  ];
}
