/**
 * A node's first look around: a query for its own id, by which it meets its neighbours. While that
 * goes on, the first who answers is asked to answer to the server socket as well. Only if that
 * comes is it worth testing whether others reach us; and if they do, our id is another one,
 * and we look around once more.
 */
import type { NodeAddress } from '../../codecs/dht/address.ts';
import { INTERNAL } from '../../codecs/dht/constants.ts';
import type { NetworkState } from './network-state.ts';
import type { Query } from './query.ts';
import type { OwnRequest, RequestOwner, RequestParts } from './request.ts';
import type { DhtResponse } from './types.ts';

export interface LookAroundHost {
  readonly tableId: Uint8Array;
  readonly firewalled: boolean;
  readonly destroyed: boolean;
  backgroundQuery(target: Uint8Array): Query;
  sendRequest(parts: RequestParts, owner: RequestOwner): OwnRequest | null;
}

/** Calls `done` when it is over, unless the node ends before. `isQuick`: with that first test. */
export function lookAround(
  node: LookAroundHost,
  network: NetworkState,
  isQuick: boolean,
  done: () => void,
): void {
  const { isForced } = network;
  let isReached = false;
  const query = node.backgroundQuery(node.tableId);
  if (isQuick && node.firewalled && !isForced) {
    query.once('data', ({ from }: DhtResponse) => {
      askForNatPing(node, network, from, () => {
        isReached = true;
      });
    });
  }
  query.once('close', () => {
    if (node.destroyed) return;
    if (!isReached && !isForced) {
      done();
      return;
    }
    network.update(!isForced, (isDone) => {
      if (!isDone) {
        done();
        return;
      }
      const again = node.backgroundQuery(node.tableId);
      again.once('close', done);
      again.resume();
    });
  });
  query.resume();
}

function askForNatPing(
  node: LookAroundHost,
  network: NetworkState,
  { host, port }: NodeAddress,
  answered: () => void,
): void {
  const value = network.portValue();
  // Without its id: when it does not reach us it is not to be taken for dead.
  const to = { id: null, host, port };
  node.sendRequest(
    { to, isInternal: true, command: INTERNAL.PING_NAT, value },
    { onResponse: answered, onError: () => undefined },
  );
}
