/** `npm run bench -- NAME [options]`: the benchmarks by name. */
import process from 'node:process';

interface Bench {
  readonly about: string;
  /** Loaded when it is wanted: some take a while, or need the addon. */
  readonly load: () => Promise<(argv: string[]) => Promise<number>>;
}

const BENCHES: Record<string, Bench> = {
  dns: {
    about:
      'DNS discovery, inline and with a worker, against the original and a bare echo' +
      ' [--seconds 1.5] [--rounds 5] [--only SCENARIO] [--servers NAME,...]' +
      ' [--placement spread|together|free]',
    load: async () => (await import('./dns.ts')).benchDns,
  },
  dht: {
    about:
      'a DHT node against the originals dht-rpc and hyperdht' +
      ' [--seconds 1.5] [--rounds 5] [--only SCENARIO] [--servers NAME,...]',
    load: async () => (await import('./dht.ts')).benchDht,
  },
  'dht-table': {
    about: 'nanoseconds of the routing table, against kademlia-routing-table [NODES]',
    load: async () => (await import('./dht-table.ts')).benchDhtTable,
  },
  'dht-store': {
    about: 'memory under ten million announces, and nanoseconds per operation [ANNOUNCES]',
    load: async () => (await import('./dht-store.ts')).benchDhtStore,
  },
  'dht-amplification': {
    about: 'bytes a DHT node sends per byte of an unproven request, by command [--seconds 2]',
    load: async () => (await import('./dht-amplification.ts')).benchDhtAmplification,
  },
  handoff: {
    about: 'throughput by workers, sender and work per packet [--seconds 1] [--rounds 3]',
    load: async () => (await import('./handoff.ts')).benchHandoff,
  },
  lanes: {
    about: 'how evenly four lanes are loaded, and one hot name [--seconds 2] [--work 20]',
    load: async () => (await import('./lanes.ts')).benchLanes,
  },
  kill: {
    about: 'silence after a lane was killed, or hangs [--kills 30] [--hangs 8] [--rate 20000]',
    load: async () => (await import('./kill.ts')).benchKill,
  },
  overload: {
    about: 'three times what the server can do [--seconds 60] [--work 10]',
    load: async () => (await import('./overload.ts')).benchOverload,
  },
  attacks: {
    about: 'what strangers can do to a proven client, attack by attack',
    load: async () => (await import('./attacks.ts')).benchAttacks,
  },
  limiter: {
    about: 'nanoseconds per datagram of the rate limiter',
    load: async () => (await import('./limiter.ts')).benchLimiter,
  },
  lane: {
    about: 'nanoseconds per datagram in a lane, without sockets [SCENARIO]',
    load: async () => (await import('./lane.ts')).benchLane,
  },
  store: {
    about: 'memory per record and nanoseconds per operation [RECORDS]',
    load: async () => (await import('./store.ts')).benchStore,
  },
  worst: {
    about: 'the most expensive single datagrams, as multiples of a good one',
    load: async () => (await import('./worst.ts')).benchWorst,
  },
};

const [name = '', ...argv] = process.argv.slice(2);
const bench = BENCHES[name];
if (bench === undefined) {
  const list = Object.entries(BENCHES).map(([key, { about }]) => `  ${key.padEnd(8)} ${about}`);
  process.stderr.write(`usage: npm run bench -- NAME [options]\n${list.join('\n')}\n`);
  process.exitCode = 2;
} else {
  process.exitCode = await (await bench.load())(argv);
}
