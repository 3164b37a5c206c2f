/**
 * What will happen, soonest first. Events of the same microsecond come in the order in which they
 * were pushed, so the order never depends on the heap's shape.
 */

export interface SimEvent {
  /** When, in whole microseconds since the start. */
  at: number;
  /** Breaks ties; given by `push`. */
  order: number;
  /** Cancelled: it stays in the heap until its turn, or until too many do. */
  isDead: boolean;
  run(): void;
}

/** Below so many, dead events are not worth a sweep. */
const LEAST_DEAD = 1024;

export class EventHeap {
  #events: SimEvent[] = [];
  #order = 0;
  #dead = 0;

  get size(): number {
    return this.#events.length;
  }

  push(event: SimEvent): void {
    event.order = this.#order++;
    this.#events.push(event);
    this.#up(this.#events.length - 1);
  }

  /** The soonest event, still in the heap. */
  peek(): SimEvent | undefined {
    return this.#events[0];
  }

  pop(): SimEvent | undefined {
    const events = this.#events;
    const first = events[0];
    const last = events.pop();
    if (last === undefined || last === first) return first;
    events[0] = last;
    this.#down(0);
    if (first.isDead && this.#dead > 0) this.#dead--;
    return first;
  }

  /**
   * Marks an event of the heap as cancelled. Most timers are (an answer came), so they are swept
   * out once they are more than half.
   */
  kill(event: SimEvent): void {
    if (event.isDead) return;
    event.isDead = true;
    if (++this.#dead < LEAST_DEAD || 2 * this.#dead < this.#events.length) return;
    this.#events = this.#events.filter((other) => !other.isDead);
    this.#dead = 0;
    for (let at = (this.#events.length >> 1) - 1; at >= 0; at--) this.#down(at);
  }

  #up(from: number): void {
    const events = this.#events;
    const event = events[from];
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(event, events[parent])) break;
      events[at] = events[parent];
      at = parent;
    }
    events[at] = event;
  }

  #down(from: number): void {
    const events = this.#events;
    const count = events.length;
    const event = events[from];
    let at = from;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= count) break;
      if (child + 1 < count && isBefore(events[child + 1], events[child])) child++;
      if (!isBefore(events[child], event)) break;
      events[at] = events[child];
      at = child;
    }
    events[at] = event;
  }
}

function isBefore(a: SimEvent, b: SimEvent): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
