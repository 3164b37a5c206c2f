/** A callback that remembers what it was called with. */
import assert from 'node:assert/strict';
import { until } from './tcp-client.ts';

export class Calls {
  /** The arguments of each call. */
  readonly all: unknown[][] = [];
  readonly callback = (...args: unknown[]): void => {
    this.all.push(args);
  };

  /** The arguments of the one call, now or later. */
  async single(): Promise<unknown[]> {
    await until(() => this.all.length > 0, 'the callback');
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(this.all.length, 1, 'called once');
    return this.all[0];
  }
}
