/**
 * What a query's TXT records do, each in its order: announce, unannounce, subscribe, unsubscribe.
 * Only those whose token is valid (source-proof.ts).
 *
 * Over TCP there is no port that others could reach the asker by: an announce or unannounce of port
 * 0, which stands for the source port, is ignored, and so are subscriptions, whose pushes go by UDP
 * to the source port. That is counted nowhere: nothing went wrong.
 */
import type { QueryReader } from '../codecs/dns/query.ts';
import { COUNTER, type CounterRow } from './counters.ts';
import { fillChange, type Key } from './key.ts';
import type { LaneHooks } from './lane-hooks.ts';
import type { Message } from './message.ts';
import type { NameCap } from './name-cap.ts';
import { FRESH_SECONDS, PUSHES_PER_ANNOUNCE, type Pusher } from './pusher.ts';
import { SLOT_PORT, type Slab } from './slab.ts';
import type { SourceProof } from './source-proof.ts';
import {
  ADDED,
  BOUNDED,
  Change,
  FULL,
  OP_PUT,
  OP_REMOVE,
  REFRESHED,
  STALE,
} from './store/change.ts';
import type { RecordStore } from './store/record-store.ts';
import type { Tokens, Topic } from './tokens.ts';

/** The last second a record can expire at. */
const LAST_SECOND = 0xffff_ffff;

export interface ActionsParts {
  readonly slab: Slab;
  readonly counters: CounterRow;
  readonly reader: QueryReader;
  readonly proof: SourceProof;
  readonly store: RecordStore;
  readonly tokens: Tokens;
  readonly pusher: Pusher;
  /** How long an announce lives; 0: for ever. */
  readonly ttlSeconds: number;
  /** The TTL in the records that pushes carry. */
  readonly wireTtlSeconds: number;
  /** Null: names are bounded by records alone. */
  readonly nameCap: NameCap | null;
  readonly hooks: LaneHooks;
}

export class Actions {
  readonly #parts: ActionsParts;
  readonly #change = new Change();
  readonly #topic: Topic = { hash: 0, domainAndPort: 0, path: 0 };
  /** Pushes the query may still cause. */
  #pushesLeft = 0;
  #nowMs = 0;
  #nowSeconds = 0;

  constructor(parts: ActionsParts) {
    this.#parts = parts;
  }

  setTime(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#nowSeconds = Math.floor(nowMs / 1000);
  }

  /** Acts on the query in `message`, which is about `key` and whose proof was just looked at. */
  act(message: Message, key: Key): void {
    const { proof, reader } = this.#parts;
    this.#pushesLeft = PUSHES_PER_ANNOUNCE;
    for (let i = 0; i < reader.txtCount; i++) {
      if (proof.trusted[i] === 0) continue;
      const txt = proof.txts[i];
      const hasPort = !message.isTcp;
      if (txt.announce > 0 || (txt.announce === 0 && hasPort)) {
        this.#announce(message.slot, key, txt.announce);
      }
      if (txt.unannounce > 0 || (txt.unannounce === 0 && hasPort)) {
        this.#unannounce(message.slot, key, txt.unannounce);
      }
      if (!hasPort) continue;
      if (txt.subscribe) this.#subscribe(message, key);
      else this.#unsubscribe(message.slot, key);
    }
  }

  #announce(slot: number, key: Key, port: number): void {
    const { counters, store, pusher, ttlSeconds, wireTtlSeconds } = this.#parts;
    const change = this.#changeOf(OP_PUT, slot, key, port);
    // From the next full second on: never less than the ttl.
    const expiresAt = Math.min(this.#nowSeconds + 1 + ttlSeconds, LAST_SECOND);
    change.expiresAt = ttlSeconds === 0 ? 0 : expiresAt;
    const result = store.apply(change);
    counters[COUNTER.announces]++;
    if (result === BOUNDED) counters[COUNTER.announcesBounded]++;
    else if (result === FULL || result === STALE) counters[COUNTER.announcesRejected]++;
    const { onAnnounce } = this.#parts.hooks;
    if (onAnnounce !== null && (result === ADDED || result === REFRESHED)) {
      onAnnounce(key, slot, change.port);
    }
    if (result !== ADDED) return;
    this.#parts.nameCap?.enforce(this.#nowSeconds);
    const most = this.#pushesLeft;
    const told = pusher.notify(key, slot, change.port, wireTtlSeconds, this.#nowMs, most);
    this.#pushesLeft -= told;
  }

  #unannounce(slot: number, key: Key, port: number): void {
    this.#parts.store.apply(this.#changeOf(OP_REMOVE, slot, key, port));
    this.#parts.counters[COUNTER.unannounces]++;
  }

  /** Makes the change about the asker; port 0 is the datagram's source port. */
  #changeOf(op: number, slot: number, key: Key, port: number): Change {
    const change = this.#change;
    fillChange(change, op, key, this.#parts.slab, slot, this.#nowSeconds);
    if (port !== 0) change.port = port;
    return change;
  }

  /** Renews in the store only what is not fresh (see FRESH_SECONDS in pusher.ts). */
  #subscribe({ base, slot }: Message, key: Key): void {
    const { counters, pusher, slab, tokens } = this.#parts;
    const topic = this.#topic;
    counters[COUNTER.subscribes]++;
    topic.hash = key.hash;
    topic.domainAndPort = (key.domain << 16) | slab.u16[(base + SLOT_PORT) >> 1];
    topic.path = pusher.pathOf(slot);
    if (tokens.isSubscribed(topic, this.#nowSeconds, FRESH_SECONDS)) return;
    const isStored = pusher.subscribe(key, slot, topic.path, this.#nowSeconds);
    if (isStored) tokens.subscribed(topic, this.#nowSeconds);
  }

  #unsubscribe(slot: number, key: Key): void {
    this.#parts.pusher.unsubscribe(key, slot, this.#nowSeconds);
    this.#parts.tokens.unsubscribed();
  }
}
