/** A program that has a verifier's threads started, and then leaves them or closes. */
import process from 'node:process';
import { systemClock } from '../../../server/clock.ts';
import { PoolVerifier } from '../../../server/dht/pool-verifier.ts';
import { makeMemory } from './fixture.ts';

const { slab, table } = makeMemory(1);
const verifier = new PoolVerifier({ slab, table, onDone: () => undefined }, systemClock);
await verifier.warm();
process.stdout.write('warm\n');
if (process.argv[2] === 'close') {
  await verifier.close();
  process.stdout.write('closed\n');
}
