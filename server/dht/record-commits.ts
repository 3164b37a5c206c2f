/**
 * Storing a record at a node that has answered, with the token it gave, and what becomes of it when
 * nodes refuse: one that stores it is enough.
 */
import { DHT_ERROR } from '../../codecs/dht/constants.ts';
import { DhtError } from './errors.ts';
import type { DhtNode } from './node.ts';
import type { DhtResponse } from './types.ts';

/** The request's value for the node with this id, which gave this token. */
export type MakeValue = (token: Uint8Array, nodeId: Uint8Array) => Uint8Array;

export interface StoreMessage {
  readonly target: Uint8Array;
  readonly command: number;
  readonly make: MakeValue;
}

export type RefusalCode = 'SEQ_REUSED' | 'SEQ_TOO_LOW' | 'REFUSED';

/** Nodes answered, and would not store it. */
export class RefusedError extends Error {
  readonly code: RefusalCode;
  /** The error's number in the answers; one of DHT_ERROR, unless nodes make up their own. */
  readonly error: number;

  constructor(error: number) {
    const { code, why } = reasonOf(error);
    super(`${code}: ${why} (error ${error})`);
    this.name = 'DHTError';
    this.code = code;
    this.error = error;
  }
}

function reasonOf(error: number): { code: RefusalCode; why: string } {
  switch (error) {
    case DHT_ERROR.SEQ_REUSED:
      return { code: 'SEQ_REUSED', why: 'nodes keep another value with this seq' };
    case DHT_ERROR.SEQ_TOO_LOW:
      return { code: 'SEQ_TOO_LOW', why: 'nodes keep a value with a higher seq' };
    default:
      return { code: 'REFUSED', why: 'nodes would not store it' };
  }
}

/**
 * For a query's `commit`: stores at each of the closest. When all of them fail, the query does with
 * what most of those who answered gave as the reason, whoever was the last.
 */
export function storing(
  node: DhtNode,
  message: StoreMessage,
): (reply: DhtResponse) => Promise<void> {
  const refusals = new Map<number, number>();
  return async (reply) => {
    try {
      await storeAt(node, message, reply);
    } catch (error) {
      if (error instanceof RefusedError) {
        refusals.set(error.error, (refusals.get(error.error) ?? 0) + 1);
      }
      const [most] = [...refusals].sort(([, a], [, b]) => b - a);
      throw most === undefined ? error : new RefusedError(most[0]);
    }
  };
}

/**
 * Stores at the node that sent `reply`. A token that has turned meanwhile is replaced once. Throws
 * a RefusedError, or a DhtError when there is no token or no answer.
 */
export async function storeAt(
  node: DhtNode,
  { target, command, make }: StoreMessage,
  { from, token: given }: DhtResponse,
): Promise<void> {
  let token = given;
  for (let mayRetry = true; ; mayRetry = false) {
    // What is signed is for one node: for one without an id it cannot be.
    if (token === null || from.id === null) {
      throw new DhtError('NO_TOKEN', 'No token received for closest node');
    }
    const value = make(token, from.id);
    const answer = await node.request({ token, target, command, value }, from);
    if (answer.error === DHT_ERROR.NONE) return;
    const isStale = answer.error === DHT_ERROR.INVALID_TOKEN && answer.token !== null;
    if (!isStale || !mayRetry) throw new RefusedError(answer.error);
    token = answer.token;
  }
}
