/** A lane's thread that fails as the name it is asked for says: throw, exit, hang or memory. */
import process from 'node:process';
import { awaitAssignment, serveLane } from '../../server/lanes/lane-thread.ts';
import { DiscoveryResponder } from '../../workers/discovery.ts';
import { SLOT_BYTES, SLOT_HEADER_BYTES, Slab } from '../../workers/slab.ts';

/** Where the first label's text is in a query. */
const LABEL = 13;
const LABEL_BYTES = 6;

awaitAssignment((assignment, port) => {
  const { bytes } = new Slab(assignment.config.slab);
  const answer = DiscoveryResponder.prototype.answer;
  DiscoveryResponder.prototype.answer = function (slot) {
    const at = slot * SLOT_BYTES + SLOT_HEADER_BYTES + LABEL;
    fail(Buffer.from(bytes.slice(at, at + LABEL_BYTES)).toString('latin1'));
    return answer.call(this, slot);
  };
  serveLane(assignment, port);
});

function fail(how: string): void {
  if (how.startsWith('throw')) throw new Error('thrown by a test');
  if (how.startsWith('exit')) process.exit(3);
  if (how.startsWith('hang')) for (;;);
  if (how.startsWith('memory')) {
    const hoard: unknown[] = [];
    for (;;) hoard.push(new Array(100_000).fill(hoard.length));
  }
}
