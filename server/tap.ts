/**
 * A look at the datagrams and messages as they come and go, for the program that a server runs
 * inside of. Where nobody has hung one in, nothing of this is in their way.
 *
 *   receiver --arrived--> pipeline ... pipeline --> receiver.send --left-->
 */
import type { Receiver } from './net/receiver.ts';

export interface DatagramTap {
  /** These slots have just been filled; nothing has been judged yet. */
  arrived(slots: Int32Array, count: number): void;
  /** These were sent, but for those whose length is 0. They are released next. */
  left(slots: Int32Array, count: number): void;
}

/** The receivers, each with `tap` on what it sends. */
export function tapped(receivers: readonly Receiver[], tap: DatagramTap): readonly Receiver[] {
  return receivers.map((receiver) => new TappedReceiver(receiver, tap));
}

class TappedReceiver implements Receiver {
  readonly #inner: Receiver;
  readonly #tap: DatagramTap;

  constructor(inner: Receiver, tap: DatagramTap) {
    this.#inner = inner;
    this.#tap = tap;
  }

  get receiver(): number {
    return this.#inner.receiver;
  }

  get mayDrop(): boolean {
    return this.#inner.mayDrop;
  }

  send(slots: Int32Array, count: number): number {
    const sent = this.#inner.send(slots, count);
    this.#tap.left(slots, count);
    return sent;
  }

  release(slots: Int32Array, count: number): void {
    this.#inner.release(slots, count);
  }
}
