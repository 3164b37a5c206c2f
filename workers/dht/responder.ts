/**
 * The DHT responder: one request in, its reply in the same place. What the npm packages dht-rpc and
 * hyperdht answer as persistent nodes, and what they answer before they are.
 *
 *   read -> token -> budget -> sender's id -> command        -> reply
 *   incoming.ts                sightings.ts   internal-commands.ts  exchange.ts
 *                                             announces.ts, values.ts, relay.ts
 *
 * The token comes first, for it proves the source; who has not proven it and has had its budget
 * costs no more than that. As in the original a wrong token gets an error and a fresh one, whatever
 * the command.
 */
import { COMMAND, DHT_ERROR } from '../../codecs/dht/constants.ts';
import { COUNTER } from '../counters.ts';
import { SLOT_ADDRESS, SLOT_SIGHTED } from '../slab.ts';
import type { Announces } from './announces.ts';
import type { DelayedPings } from './delayed-pings.ts';
import type { Exchange } from './exchange.ts';
import type { InternalCommands } from './internal-commands.ts';
import type { Relay } from './relay.ts';
import { SIGHTED, type Sightings } from './sightings.ts';
import type { DhtStores } from './store/stores.ts';
import type { DhtTokens } from './tokens.ts';
import type { Values } from './values.ts';

/** Rows freed of each store per tick: at 4 ticks a second all of them in half a minute. */
const EXPIRED_PER_TICK = 1024;

export interface ResponderParts {
  readonly exchange: Exchange;
  readonly tokens: DhtTokens;
  readonly sightings: Sightings;
  readonly stores: DhtStores;
  readonly delayedPings: DelayedPings;
  readonly internal: InternalCommands;
  readonly announces: Announces;
  readonly values: Values;
  readonly relay: Relay;
}

export class DhtResponder {
  readonly #parts: ResponderParts;

  constructor(parts: ResponderParts) {
    this.#parts = parts;
  }

  /** Sets the time for the requests to come, never less than before; once per batch. */
  setTime(nowMs: number): void {
    const { exchange, tokens, stores, delayedPings } = this.#parts;
    exchange.nowMs = nowMs;
    tokens.setTime(nowMs);
    stores.setTime(nowMs);
    delayedPings.send(nowMs);
  }

  /** Sends the delayed pings due by `nowMs`, and frees some of what has expired. */
  tick(nowMs: number): void {
    this.setTime(nowMs);
    this.#parts.stores.tick(nowMs, EXPIRED_PER_TICK);
  }

  /**
   * Answers the request in `slot` in place and returns the reply's length; 0: there is none, for a
   * reason that is counted. Negative: the request, whose length this is, is left as it was, and its
   * signature is to be checked; with SLOT_GENUINE or SLOT_FORGED in its state it comes again.
   *
   * Notes in the slot's state whether the source is proven, and what main may want to know.
   */
  answer(slot: number): number {
    const x = this.#parts.exchange;
    if (!x.read(slot)) return x.drop(COUNTER.dropMalformed);
    if (x.isForged) {
      x.counters[COUNTER.dhtForged]++;
      return x.absorb();
    }
    const isTokenGood = x.checkToken();
    if (!x.setLimit()) return x.silence();
    if (!isTokenGood) {
      x.counters[COUNTER.dhtBadTokens]++;
      return x.reply(DHT_ERROR.INVALID_TOKEN, true, true);
    }
    if (x.reader.idStart >= 0) this.#look(x);
    return x.reader.isInternal ? this.#parts.internal.answer() : this.#answerCommand(x);
  }

  /** A sender that shows its id may be worth knowing. */
  #look(x: Exchange): void {
    const { bytes, reader } = x;
    const at = x.base + SLOT_ADDRESS;
    const { sightings } = this.#parts;
    const { idStart } = reader;
    const seen = sightings.look(bytes, idStart, bytes, at, x.port, x.nowMs, x.isProven);
    if (seen !== SIGHTED) return;
    x.counters[COUNTER.dhtSightings]++;
    x.mark(SLOT_SIGHTED);
  }

  #answerCommand(x: Exchange): number {
    const { announces, values, relay } = this.#parts;
    const { command } = x.reader;
    // Every node relays; only a persistent one keeps anything.
    if (command === COMMAND.PEER_HANDSHAKE) return relay.handshake();
    if (command === COMMAND.PEER_HOLEPUNCH) return relay.holepunch();
    if (!x.isPersistent) return this.#unknown(x);
    switch (command) {
      case COMMAND.LOOKUP:
        return announces.lookup();
      case COMMAND.FIND_PEER:
        return announces.findPeer();
      case COMMAND.ANNOUNCE:
        return announces.announce();
      case COMMAND.UNANNOUNCE:
        return announces.unannounce();
      case COMMAND.MUTABLE_GET:
        return values.mutableGet();
      case COMMAND.MUTABLE_PUT:
        return values.mutablePut();
      case COMMAND.IMMUTABLE_GET:
        return values.immutableGet();
      case COMMAND.IMMUTABLE_PUT:
        return values.immutablePut();
      case COMMAND.PLUGIN:
        // No plugins here: the original does not answer for one it does not have.
        x.counters[COUNTER.dhtPlugins]++;
        return x.absorb();
      default:
        return this.#unknown(x);
    }
  }

  #unknown(x: Exchange): number {
    x.counters[COUNTER.dhtUnknownCommands]++;
    return x.reply(DHT_ERROR.UNKNOWN_COMMAND, false, true);
  }
}
