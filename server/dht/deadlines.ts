/**
 * Requests by when their answers are late: a binary heap, equal times in the order of sending.
 * A request that ended or was sent again stays in it until its old time comes, and is passed over.
 */
import type { OwnRequest } from './request.ts';

interface Deadline {
  readonly at: number;
  readonly order: number;
  readonly request: OwnRequest;
}

export class Deadlines {
  readonly #heap: Deadline[] = [];
  #order = 0;

  /** Takes the request's present `dueAt`. */
  push(request: OwnRequest): void {
    const entry = { at: request.dueAt, order: this.#order++, request };
    let at = this.#heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(entry, this.#heap[parent])) break;
      this.#heap[at] = this.#heap[parent];
      at = parent;
    }
    this.#heap[at] = entry;
  }

  /** When the first one is late; infinite when there is none. */
  first(): number {
    while (this.#heap.length > 0) {
      const { at, request } = this.#heap[0];
      if (!request.isDone && request.dueAt === at) return at;
      this.#pop();
    }
    return Number.POSITIVE_INFINITY;
  }

  /** Takes out a request that is late by `now`; null when there is none. */
  due(now: number): OwnRequest | null {
    return this.first() > now ? null : this.#pop();
  }

  #pop(): OwnRequest {
    const { request } = this.#heap[0];
    const last = this.#heap.pop();
    const length = this.#heap.length;
    if (last === undefined || length === 0) return request;
    let at = 0;
    for (let child = 1; child < length; child = 2 * at + 1) {
      if (child + 1 < length && isBefore(this.#heap[child + 1], this.#heap[child])) child++;
      if (!isBefore(this.#heap[child], last)) break;
      this.#heap[at] = this.#heap[child];
      at = child;
    }
    this.#heap[at] = last;
    return request;
  }
}

function isBefore(a: Deadline, b: Deadline): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
