/**
 * Calls that wait until the server has done with the datagrams at hand: then what the program does
 * in them, throwing and closing the server included, cannot meet the server half way through.
 */
export class Afterwards {
  #calls: (() => void)[] = [];
  #isPlanned = false;

  /** Calls `fn` after the current turn of the server, in the order of the calls. */
  call(fn: () => void): void {
    this.#calls.push(fn);
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    queueMicrotask(() => this.#callAll());
  }

  /** What throws ends the process or finds its handler, as in any event; the others follow. */
  #callAll(): void {
    this.#isPlanned = false;
    const calls = this.#calls;
    this.#calls = [];
    let done = 0;
    try {
      for (; done < calls.length; done++) calls[done]();
    } finally {
      for (const fn of calls.slice(done + 1)) this.call(fn);
    }
  }
}
