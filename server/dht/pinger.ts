/**
 * Whether known nodes are still there. Every eighth tick some that were not heard from for longest
 * are pinged; so is a node that somebody says is down, and the oldest of a full bucket when a new
 * one wants in. Who does not answer goes.
 */
import type { NodeAddress } from '../../codecs/dht/address.ts';
import { INTERNAL } from '../../codecs/dht/constants.ts';
import type { KnownNode } from '../../workers/dht/table-writer.ts';
import type { OwnRequest, RequestOwner, RequestParts } from './request.ts';
import { sameBytes } from './requests.ts';
import type { NodeTable } from './types.ts';

/** Ticks; heard from within a minute. */
export const RECENT_TICKS = 12;
/** Ticks; known for half an hour. */
export const OLD_TICKS = 360;
/** Pings of a round, and when the node has other things to do. */
const ROUND_PINGS = 5;
const BUSY_ROUND_PINGS = 3;
const BUSY_REQUESTS = 2;
/** When even the oldest was heard from lately. */
const RECENT_ROUND_PINGS = 2;
/** Checks because of down hints at a time: others must not make us ping everybody. */
const MAX_CHECKS = 10;
/** Full buckets whose oldest is being pinged. */
const MAX_SWAPS = 3;

export interface PingerHost {
  readonly table: NodeTable;
  readonly tick: number;
  readonly openRequests: number;
  readonly bootstrapped: boolean;
  sendRequest(parts: RequestParts, owner: RequestOwner): OwnRequest | null;
  removeNode(node: KnownNode): void;
  /** Adds a node that has answered; only if there is room. */
  insertNode(node: NodeAddress): void;
  refresh(): void;
}

export class Pinger {
  readonly #node: PingerHost;
  #checks = 0;
  #swaps = 0;

  constructor(node: PingerHost) {
    this.#node = node;
  }

  /** Pings some of those that were not heard from for longest. */
  pingSome(): void {
    const { table, tick, openRequests } = this.#node;
    const oldest = table.oldest(ROUND_PINGS);
    if (oldest.length === 0) {
      this.#node.refresh();
      return;
    }
    let count = openRequests > BUSY_REQUESTS ? BUSY_ROUND_PINGS : ROUND_PINGS;
    if (tick - oldest[0].pinged < RECENT_TICKS) count = RECENT_ROUND_PINGS;
    for (const node of oldest.slice(0, count)) {
      if (node.pinged !== tick) this.#check(node);
    }
  }

  /** Somebody says the node is down. */
  downHint(node: KnownNode): void {
    const { table, tick } = this.#node;
    if (this.#checks >= MAX_CHECKS) return;
    if (node.pinged >= tick && node.downHints > 0) return;
    table.addDownHint(node.id);
    this.#check(node);
  }

  /** Whether a node with this id would find, or may be made, room in its bucket. */
  hasRoom(id: Uint8Array): boolean {
    const { table } = this.#node;
    const members = table.bucketOf(id);
    return members.length < table.k || this.#leaver(members) !== null;
  }

  /** The bucket of a node that has answered is full: the oldest in it goes if it is silent. */
  onFull(node: NodeAddress, id: Uint8Array): void {
    const oldest = this.#leaver(this.#node.table.bucketOf(id));
    if (oldest === null) return;
    this.#node.table.setPinged(oldest.id, this.#node.tick);
    this.#swaps++;
    const swap = (): void => {
      this.#node.removeNode(oldest);
      this.#node.insertNode(node);
    };
    this.#ping(
      oldest,
      () => this.#swaps--,
      (isGone) => {
        if (isGone) swap();
      },
    );
  }

  /** Who of a full bucket is to be pinged; null when nobody is. */
  #leaver(members: readonly KnownNode[]): KnownNode | null {
    const { tick, bootstrapped } = this.#node;
    if (!bootstrapped || this.#swaps >= MAX_SWAPS) return null;
    let oldest: KnownNode | null = null;
    for (const node of members) {
      if (node.pinged === tick) continue;
      const isOlder =
        oldest === null ||
        node.pinged < oldest.pinged ||
        (node.pinged === oldest.pinged && node.added < oldest.added);
      if (isOlder) oldest = node;
    }
    if (oldest === null) return null;
    const isRecent = tick - oldest.pinged < RECENT_TICKS;
    return isRecent && tick - oldest.added > OLD_TICKS ? null : oldest;
  }

  #check(node: KnownNode): void {
    this.#node.table.setPinged(node.id, this.#node.tick);
    this.#checks++;
    this.#ping(
      node,
      () => this.#checks--,
      (isGone) => {
        if (isGone) this.#node.removeNode(node);
      },
    );
  }

  /** Pings a node; `ended` is called in any case, `told` when it is known whether it is gone. */
  #ping(node: KnownNode, ended: () => void, told: (isGone: boolean) => void): void {
    const { host, port } = node;
    const request = this.#node.sendRequest(
      { to: { id: null, host, port }, isInternal: true, command: INTERNAL.PING },
      {
        onResponse: ({ from }) => {
          ended();
          // Who no longer shows its id has left the network's tables, though it is there.
          told(from.id === null || !sameBytes(from.id, node.id));
        },
        onError: (error) => {
          ended();
          if (error.code === 'REQUEST_TIMEOUT') told(true);
        },
      },
    );
    if (request === null) ended();
  }
}
