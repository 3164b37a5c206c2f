/**
 * How many requests may be under way, as npm dht-rpc 6 counts them: at most `most` sent and not
 * answered within a slot of 750 ms, and twice that within four slots. What is never answered is
 * forgotten with its slot.
 *
 *   slots of 750 ms   [ 3 | 17 | 80 | 12 ]   sum at most 2 * most, the present one at most `most`
 *                                     ^ present
 *
 * Slots are turned by the time that is asked with, not by a timer: a node at rest costs nothing.
 */

/** Slots that count; a request gives up its place at the latest when they have all turned. */
const SLOTS = 4;
export const SLOT_MS = 750;
/** As the original's. */
export const DEFAULT_MAX_WINDOW = 80;

export class CongestionWindow {
  readonly most: number;
  readonly #slots = new Uint32Array(SLOTS);
  #present = 0;
  #sum = 0;
  #turnsAt: number;

  constructor(most: number, nowMs: number) {
    this.most = most;
    this.#turnsAt = nowMs + SLOT_MS;
  }

  /** When a full window may have room again, at the latest. */
  get turnsAt(): number {
    return this.#turnsAt;
  }

  isFull(nowMs: number): boolean {
    this.#turn(nowMs);
    return this.#sum >= 2 * this.most || this.#slots[this.#present] >= this.most;
  }

  sent(nowMs: number): void {
    this.#turn(nowMs);
    this.#slots[this.#present]++;
    this.#sum++;
  }

  /** A request was answered or given up. It counts for the present slot, whenever it was sent. */
  settled(nowMs: number): void {
    this.#turn(nowMs);
    if (this.#slots[this.#present] === 0) return;
    this.#slots[this.#present]--;
    this.#sum--;
  }

  clear(): void {
    this.#slots.fill(0);
    this.#sum = 0;
  }

  #turn(nowMs: number): void {
    if (nowMs < this.#turnsAt) return;
    const turns = 1 + Math.floor((nowMs - this.#turnsAt) / SLOT_MS);
    this.#turnsAt += turns * SLOT_MS;
    for (let i = Math.min(turns, SLOTS); i > 0; i--) {
      this.#present = (this.#present + 1) % SLOTS;
      this.#sum -= this.#slots[this.#present];
      this.#slots[this.#present] = 0;
    }
  }
}
