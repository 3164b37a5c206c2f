/** Requests and queries that end together. */

import type { NodeAddress } from '../../codecs/dht/address.ts';
import { type DhtError, requestDestroyed } from './errors.ts';
import type { DhtNode } from './node.ts';
import type { Query, QueryOptions } from './query.ts';
import type { OwnRequest } from './request.ts';
import type {
  DhtResponse,
  PingOptions,
  QueryMessage,
  RequestMessage,
  RequestOptions,
} from './types.ts';

export class Session {
  readonly #node: DhtNode;
  readonly #open = new Set<OwnRequest>();

  constructor(node: DhtNode) {
    this.#node = node;
  }

  /** Requests of it under way. */
  get size(): number {
    return this.#open.size;
  }

  query<T = DhtResponse>(message: QueryMessage, options: QueryOptions<T> = {}): Query<T> {
    return this.#node.query(message, { ...options, session: this });
  }

  request(
    message: RequestMessage,
    to: NodeAddress,
    options: RequestOptions = {},
  ): Promise<DhtResponse> {
    return this.#node.request(message, to, { ...options, session: this });
  }

  ping(to: NodeAddress, options: PingOptions = {}): Promise<DhtResponse> {
    return this.#node.ping(to, { ...options, session: this });
  }

  /** Ends all its requests; those made later are not affected. */
  destroy(error: DhtError = requestDestroyed()): void {
    for (const request of [...this.#open]) request.destroy(error);
  }

  /** For requests. */
  attach(request: OwnRequest): void {
    this.#open.add(request);
  }

  /** For requests. */
  detach(request: OwnRequest): void {
    this.#open.delete(request);
  }
}
