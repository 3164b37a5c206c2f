/** `npm run bench -- NAME [options]`: the benchmarks by name. */
import process from 'node:process';
import { benchDns } from './dns.ts';
import { benchLane } from './lane.ts';
import { benchStore } from './store.ts';
import { benchWorst } from './worst.ts';

const BENCHES: Record<string, { about: string; run: (argv: string[]) => Promise<number> }> = {
  dns: {
    about: 'DNS discovery against the original and a bare echo [--seconds 1.5] [--rounds 5]',
    run: benchDns,
  },
  lane: { about: 'nanoseconds per datagram in a lane, without sockets [SCENARIO]', run: benchLane },
  store: { about: 'memory per record and nanoseconds per operation [RECORDS]', run: benchStore },
  worst: {
    about: 'the most expensive single datagrams, as multiples of a good one',
    run: benchWorst,
  },
};

const [name = '', ...argv] = process.argv.slice(2);
const bench = BENCHES[name];
if (bench === undefined) {
  const list = Object.entries(BENCHES).map(([key, { about }]) => `  ${key.padEnd(8)} ${about}`);
  process.stderr.write(`usage: npm run bench -- NAME [options]\n${list.join('\n')}\n`);
  process.exitCode = 2;
} else {
  process.exitCode = await bench.run(argv);
}
