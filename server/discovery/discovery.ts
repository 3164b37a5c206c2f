/**
 * The door to the discovery client. `discovery(options)` works with and without `new`, imported and
 * required: `require('waypost/discovery')()` is what programs for npm dns-discovery write.
 */
import { Discovery } from './instance.ts';
import { DiscoveryError, type DiscoveryOptions } from './types.ts';

export interface DiscoveryFactory {
  (options?: DiscoveryOptions): Discovery;
  new (options?: DiscoveryOptions): Discovery;
  readonly prototype: Discovery;
  /** For those who `require` it. */
  readonly Discovery: typeof Discovery;
  readonly DiscoveryError: typeof DiscoveryError;
}

function create(options?: DiscoveryOptions): Discovery {
  // `class Mine extends discovery` makes one of its own kind.
  const kind = new.target === undefined || new.target === create ? Discovery : new.target;
  return Reflect.construct(Discovery, [options], kind) as Discovery;
}

/** Makes a discovery instance; see `DiscoveryOptions`. */
export const discovery = Object.assign(create, { Discovery, DiscoveryError }) as DiscoveryFactory;
// `disc instanceof discovery` holds, as with the original.
Object.defineProperty(discovery, 'prototype', { value: Discovery.prototype });

export type { Listen } from './instance.ts';
export type { Lookup, Operation } from './operation.ts';
export type * from './types.ts';
export { Discovery, DiscoveryError, discovery as 'module.exports', discovery as default };
