/** Signatures checked on the main thread. */
import { SlotChecker } from '../../workers/dht/slot-checker.ts';
import { Ring } from '../../workers/ring.ts';
import type { Clock } from '../clock.ts';
import { DEFAULT_QUEUE_SLOTS, type Verifier, type VerifierParts } from './verifier.ts';
import { VERIFY_BATCH } from './verifier-task.ts';

/**
 * Checks signatures on the thread it is on, for nodes of which a process has many: a batch in each
 * turn of the event loop, so that sockets wait for no more than that.
 */
export class InlineVerifier implements Verifier {
  readonly failed = 0;
  readonly #checker: SlotChecker;
  readonly #onDone: VerifierParts['onDone'];
  readonly #clock: Pick<Clock, 'soon'>;
  readonly #queue = Ring.allocate(DEFAULT_QUEUE_SLOTS);
  readonly #one = new Int32Array(1);
  readonly #batch = new Int32Array(VERIFY_BATCH);
  #isScheduled = false;
  #isClosed = false;

  constructor(parts: VerifierParts, clock: Pick<Clock, 'soon'>) {
    this.#checker = new SlotChecker({ slab: parts.slab.buffer, table: parts.table });
    this.#onDone = parts.onDone;
    this.#clock = clock;
  }

  get pending(): number {
    return this.#queue.size;
  }

  submit(slot: number): boolean {
    this.#one[0] = slot;
    if (this.#isClosed || this.#queue.push(this.#one, 0, 1) === 0) return false;
    this.#schedule();
    return true;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    while (this.#queue.size > 0) this.#check();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#clock.soon(() => this.#turn());
  }

  #turn(): void {
    this.#isScheduled = false;
    this.#check();
    if (this.#queue.size > 0) this.#schedule();
  }

  #check(): void {
    const count = this.#queue.pop(this.#batch, VERIFY_BATCH);
    if (count === 0) return;
    this.#checker.check(this.#batch, count);
    this.#onDone(this.#batch, count);
  }
}
