/**
 * `npm run bench -- dht-table [NODES]`: nanoseconds per operation of the routing table and what is
 * around it, on one thread, against kademlia-routing-table, which dht-rpc uses. Both tables hold
 * what a network of NODES nodes leaves in them; targets are random. The rounds of all are mixed,
 * the median counts.
 */
import { createRequire } from 'node:module';
import process from 'node:process';
import { u32ToHost } from '../codecs/dht/address.ts';
import { ADDRESS_BYTES, ID_BYTES, K } from '../codecs/dht/constants.ts';
import { nodeId } from '../codecs/dht/node-id.ts';
import { ProvenTable } from '../server/dht/proven-table.ts';
import { RoutingTable } from '../workers/dht/routing-table.ts';
import { Sightings } from '../workers/dht/sightings.ts';
import { TableWriter } from '../workers/dht/table-writer.ts';
import { DhtTokens } from '../workers/dht/tokens.ts';
import { Rng } from '../workers/rng.ts';
import { formatTable, median } from './table.ts';

const DEFAULT_NODES = 3000;
const OPERATIONS = 100_000;
const ROUNDS = 9;
const TARGETS = 1024;
const SEED = 1;
const NOW_MS = 1_700_000_000_000;

interface OriginalTable {
  add(node: object): boolean;
  closest(id: Uint8Array, k: number): { host: string; port: number }[];
}

interface Operation {
  readonly what: string;
  /** Operation number `index`. */
  readonly run: (index: number) => void;
}

/** The tables, filled with the same nodes. */
class Subjects {
  readonly rng = new Rng(SEED);
  readonly buffer = RoutingTable.allocate();
  readonly table = new RoutingTable(this.buffer);
  readonly writer = new TableWriter(this.buffer, { isPrivate: true });
  readonly original: OriginalTable;
  readonly targets: Uint8Array[];
  /** Addresses in the table, as slots have them, and the ids behind them. */
  readonly senders: Uint8Array;

  constructor(nodes: number) {
    const dhtRpc = createRequire(import.meta.url).resolve('dht-rpc');
    const Original = createRequire(dhtRpc)('kademlia-routing-table') as new (
      id: Uint8Array,
    ) => OriginalTable;
    const own = this.#randomId();
    this.original = new Original(own);
    this.writer.setOwn(own, true);
    for (let n = 0; n < nodes; n++) {
      const host = u32ToHost(0x0a00_0000 + this.rng.below(1 << 24));
      const port = 1 + this.rng.below(65_535);
      this.writer.add(host, port, 1);
      this.original.add({ id: nodeId(host, port), host, port });
    }
    this.targets = Array.from({ length: TARGETS }, () => this.#randomId());
    const known = this.writer.all();
    this.senders = new Uint8Array(TARGETS * SENDER_BYTES);
    for (let i = 0; i < TARGETS; i++) {
      const node = known[i % known.length];
      const at = i * SENDER_BYTES;
      this.senders.set(node.id, at + SENDER_ID);
      this.senders.fill(0xff, at + 10, at + 12);
      this.senders.set(node.host.split('.').map(Number), at + 12);
      this.senders[at + SENDER_PORT] = node.port;
      this.senders[at + SENDER_PORT + 1] = node.port >>> 8;
    }
  }

  #randomId(): Uint8Array {
    return Uint8Array.from({ length: ID_BYTES }, () => this.rng.below(256));
  }
}

const SENDER_BYTES = 64;
const SENDER_ID = 16;
const SENDER_PORT = 48;

function operations(subjects: Subjects): Operation[] {
  const { table, original, targets, senders, writer } = subjects;
  const out = new Uint8Array(new SharedArrayBuffer(2048));
  const sightings = new Sightings(table, SEED);
  const portAt = (at: number) => senders[at + SENDER_PORT] | (senders[at + SENDER_PORT + 1] << 8);
  const words = new Int32Array(senders.buffer);
  const tokens = new DhtTokens(new Uint8Array(32), SEED);
  tokens.setTime(NOW_MS);
  const proven = new ProvenTable([1, 2]);
  const known = writer.all();
  return [
    {
      what: `closest ${K}, as bytes of an answer`,
      run: (i) => void table.writeClosest(targets[i % TARGETS], 0, K, out, 100),
    },
    {
      what: `closest ${K} of kademlia-routing-table, as objects`,
      run: (i) => void original.closest(targets[i % TARGETS], K),
    },
    {
      what: `closest ${K} of kademlia-routing-table, encoded as the original does`,
      run: (i) => encodeAll(original.closest(targets[i % TARGETS], K), out),
    },
    {
      what: 'a known sender marked as seen',
      run: (i) => {
        const at = (i % TARGETS) * SENDER_BYTES;
        sightings.look(senders, at + SENDER_ID, senders, at, portAt(at), NOW_MS, true);
      },
    },
    { what: 'own id', run: () => table.ownId(out, 100) },
    {
      what: 'token of a busy address, checked and written',
      run: (i) => {
        tokens.load(words, ((i % TARGETS) * SENDER_BYTES) >> 2);
        tokens.write(out, 100);
        tokens.verify(out, 100);
      },
    },
    {
      what: 'is the sender proven',
      run: (i) => {
        const at = (i % TARGETS) * SENDER_BYTES;
        proven.has(words, at >> 2, portAt(at), NOW_MS);
      },
    },
    {
      what: 'a node removed and added',
      run: (i) => {
        const node = known[i % known.length];
        writer.remove(node.id);
        writer.add(node.host, node.port, 1);
      },
    },
  ];
}

/** Four numbers of a text and a port each, as compact-encoding writes them. */
function encodeAll(nodes: readonly { host: string; port: number }[], out: Uint8Array): void {
  let at = 0;
  for (const { host, port } of nodes) {
    let number = 0;
    for (let i = 0; i <= host.length; i++) {
      const code = i === host.length ? 0x2e : host.charCodeAt(i);
      if (code === 0x2e) {
        out[at++] = number;
        number = 0;
      } else number = number * 10 + code - 0x30;
    }
    out[at++] = port;
    out[at++] = port >>> 8;
  }
}

function nanosecondsOf(run: Operation['run']): number {
  const start = performance.now();
  for (let i = 0; i < OPERATIONS; i++) run(i);
  return ((performance.now() - start) * 1e6) / OPERATIONS;
}

export async function benchDhtTable(argv: string[]): Promise<number> {
  const nodes = Number(argv[0] ?? DEFAULT_NODES);
  const subjects = new Subjects(nodes);
  const all = operations(subjects);
  const figures = all.map((): number[] => []);
  for (let round = 0; round <= ROUNDS; round++) {
    all.forEach(({ run }, i) => {
      const figure = nanosecondsOf(run);
      // The first round warms up.
      if (round > 0) figures[i].push(figure);
    });
  }
  const rows = all.map(({ what }, i) => [what, '', median(figures[i]).toFixed(0)]);
  process.stdout.write(`${subjects.table.size} of ${nodes} nodes in the tables\n`);
  process.stdout.write(`${formatTable([['what', '', 'ns'], ...rows])}\n`);
  process.stdout.write(`bytes of an answer's nodes: ${K * ADDRESS_BYTES}\n`);
  return 0;
}
