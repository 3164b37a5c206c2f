/**
 * The appliance without a rate limit, to be told things on standard input, a line each:
 *
 *   work US            work per datagram from now on (only with --work)
 *   counters           prints the counters of main and of each lane as JSON
 *   kill LANE AFTER    ends the lane's thread after so many ms, prints the time in ns (hrtime)
 *   hang AFTER         a lane hangs after so many ms, prints the time likewise
 *   whole              prints `whole` when each lane has a thread and a spare one waits
 */
import process from 'node:process';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { startAppliance } from '../../server/appliance.ts';
import { CidrList } from '../../server/limits/cidr.ts';
import { hangNext, installWork, setWork, shareWork } from './work.ts';

const LIMIT = 1_000_000;
const HEALTH_MS = 5;

const { values } = parseArgs({
  options: {
    workers: { type: 'string', default: '0' },
    send: { type: 'string', default: 'main' },
    work: { type: 'boolean', default: false },
  },
});
const workers = Number(values.workers);
const work = shareWork();
if (values.work && workers === 0) installWork(work);
const appliance = await startAppliance({
  dns: [{ address: '127.0.0.1', port: 0 }],
  dht: null,
  dnsRequired: true,
  domains: ['dns-discovery.local'],
  nameserver: null,
  ttlSeconds: 0,
  limit: LIMIT,
  udpBackend: 'batch',
  workers,
  sendFrom: values.send === 'lane' ? 'lane' : 'main',
  limits: {
    rateLimit: null,
    rateLimitExempt: CidrList.none,
    prefixLimit: LIMIT,
    nameLimit: LIMIT,
    tcpConnections: 0,
    tcpConnectionsPerPrefix: 1,
    tcpIdleMs: 10_000,
  },
  nsid: null,
  cookieSecrets: null,
  tokenSecret: null,
  notice: () => undefined,
  ...(values.work ? { laneEntry: new URL('./working-lane.ts', import.meta.url) } : {}),
});

const commands: Record<string, (...args: number[]) => void> = {
  work: (us) => setWork(work, us),
  counters: () => print(JSON.stringify([appliance.counters(), ...appliance.laneCounters()])),
  kill: (lane, after) => {
    setTimeout(() => {
      print(String(process.hrtime.bigint()));
      appliance.killLane(lane);
    }, after);
  },
  hang: (after) => {
    setTimeout(() => {
      print(String(process.hrtime.bigint()));
      hangNext(work);
    }, after);
  },
  whole: () => {
    const timer = setInterval(() => {
      const { serving, hasSpare } = appliance.workerHealth();
      if (serving !== workers || !hasSpare) return;
      clearInterval(timer);
      print('whole');
    }, HEALTH_MS);
  },
};

createInterface({ input: process.stdin }).on('line', (line) => {
  const [name, ...args] = line.split(' ');
  commands[name](...args.map(Number));
});
print(`port=${appliance.listening[0].port}`);

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
