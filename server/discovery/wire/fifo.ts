/** A queue whose head is taken without moving the rest. */
export class Fifo<T> {
  #items: (T | undefined)[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  get first(): T | undefined {
    return this.#items[this.#head];
  }

  push(item: T): void {
    this.#items.push(item);
  }

  shift(): T | undefined {
    const item = this.#items[this.#head];
    if (this.length === 0) return undefined;
    this.#items[this.#head++] = undefined;
    if (this.#head === this.#items.length || this.#head > 1024) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Takes out those that `isOut` says; returns them in their order. */
  remove(isOut: (item: T) => boolean): T[] {
    const all = this.#items.slice(this.#head) as T[];
    this.#items = all.filter((item) => !isOut(item));
    this.#head = 0;
    return all.filter(isOut);
  }

  /** Empties it. */
  takeAll(): T[] {
    return this.remove(() => true);
  }
}
