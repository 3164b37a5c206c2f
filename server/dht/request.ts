/** One request of ours, from its making to its answer or its end; see requests.ts. */
import {
  HEAD_BYTES,
  ID_BYTES,
  MAX_DATAGRAM_BYTES,
  TOKEN_BYTES,
} from '../../codecs/dht/constants.ts';
import { encodeRequest } from '../../codecs/dht/message.ts';
import { varintBytes } from '../../codecs/dht/varint.ts';
import type { DhtError } from './errors.ts';
import type { Requests } from './requests.ts';
import type { Session } from './session.ts';
import type { DhtResponse, NodeReference, SocketKind } from './types.ts';

/** Sent once and then so often again: some 4 seconds in all. */
export const DEFAULT_RETRIES = 3;

/** Of a value: more than 252 bytes are told in three. */
const LENGTH_BYTES = 3;

export interface RequestParts {
  readonly to: NodeReference;
  readonly isInternal: boolean;
  readonly command: number;
  readonly token?: Uint8Array | null;
  readonly target?: Uint8Array | null;
  readonly value?: Uint8Array | null;
  readonly session?: Session | null;
  readonly socket?: SocketKind | undefined;
  readonly retries?: number;
  /** How long to wait for an answer; otherwise what is usual. */
  readonly timeoutMs?: number;
  /** It leaves without our id, as short as it can be. */
  readonly isShort?: boolean;
}

/**
 * Throws a RangeError on a token or target that is none, and when no datagram carries the value
 * together with our id, which is shown or not, and `spareBytes`.
 */
export function checkParts(
  { command, token, target, value }: Omit<RequestParts, 'to' | 'isInternal'>,
  spareBytes = 0,
): void {
  if (token) checkLength('token', token, TOKEN_BYTES);
  if (target) checkLength('target', target, ID_BYTES);
  const fixed = ID_BYTES + (token ? TOKEN_BYTES : 0) + (target ? ID_BYTES : 0) + spareBytes;
  const most = MAX_DATAGRAM_BYTES - HEAD_BYTES - fixed - varintBytes(command) - LENGTH_BYTES;
  if (value && value.length > most) {
    throw new RangeError(`value of ${value.length} bytes: a datagram has room for ${most}`);
  }
}

function checkLength(name: string, bytes: Uint8Array, expected: number): void {
  if (bytes.length === expected) return;
  throw new RangeError(`${name} of ${bytes.length} bytes: expected ${expected}`);
}

/** Who wants to know what becomes of a request. Each is told once, of one of the two ends. */
export interface RequestOwner {
  onResponse(response: DhtResponse, request: OwnRequest): void;
  onError(error: DhtError, request: OwnRequest): void;
  /** It was not answered in time for the first time, and goes out again or ends. */
  onSlow?(request: OwnRequest): void;
}

export class OwnRequest {
  readonly tid: number;
  /** The receiver's address as one number; see requests.ts. */
  readonly address: number;
  readonly parts: RequestParts;
  readonly owner: RequestOwner;
  readonly socket: SocketKind;
  readonly retries: number;
  readonly #requests: Requests;
  #datagram: Uint8Array | null = null;
  /** How often it was sent. */
  sent = 0;
  /** When it was sent first. */
  sentAt = 0;
  /** When the answer to the last sending is late; infinite while it waits to be sent. */
  dueAt = Number.POSITIVE_INFINITY;
  isDone = false;
  isSlow = false;
  /** Why it could not be sent. */
  refusal: DhtError | null = null;

  constructor(
    requests: Requests,
    tid: number,
    address: number,
    socket: SocketKind,
    parts: RequestParts,
    owner: RequestOwner,
  ) {
    this.#requests = requests;
    this.tid = tid;
    this.address = address;
    this.parts = parts;
    this.owner = owner;
    this.socket = socket;
    this.retries = parts.retries ?? DEFAULT_RETRIES;
  }

  get to(): NodeReference {
    return this.parts.to;
  }

  /** What goes out: the same each time. `id` is ours to show. */
  datagram(id: Uint8Array | null): Uint8Array {
    const { to, token, isInternal, command, target, value, isShort } = this.parts;
    this.#datagram ??= encodeRequest({
      tid: this.tid,
      to,
      id: isShort === true ? null : id,
      token: token ?? null,
      isInternal,
      command,
      target: target ?? null,
      value: value ?? null,
    });
    return this.#datagram;
  }

  /** Ends it; its owner is told. Does nothing when it has ended. */
  destroy(error?: DhtError): void {
    this.#requests.destroy(this, error);
  }
}
