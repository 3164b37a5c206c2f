/** "The node you named is down": told to who named it, so often per tick and no more. */
import { encodeAddress, type NodeAddress } from '../../codecs/dht/address.ts';
import { INTERNAL } from '../../codecs/dht/constants.ts';
import type { OwnRequest, RequestOwner, RequestParts } from './request.ts';
import type { Session } from './session.ts';
import type { NodeReference } from './types.ts';

/** Per tick of 5 s. */
export const DEFAULT_DOWN_HINTS = 50;
const NO_OWNER: RequestOwner = { onResponse: () => undefined, onError: () => undefined };

export class DownHints {
  readonly isOn: boolean;
  /** Per tick; -1: any number. */
  readonly most: number;
  readonly #send: (parts: RequestParts, owner: RequestOwner) => OwnRequest | null;
  #sent = 0;

  constructor(
    isOn: boolean,
    most: number,
    send: (parts: RequestParts, owner: RequestOwner) => OwnRequest | null,
  ) {
    this.isOn = isOn;
    this.most = most;
    this.#send = send;
  }

  onTick(): void {
    this.#sent = 0;
  }

  send(to: NodeReference, down: NodeAddress, session: Session): void {
    if (!this.isOn || (this.most !== -1 && this.#sent >= this.most)) return;
    this.#sent++;
    const value = encodeAddress(down);
    const { DOWN_HINT } = INTERNAL;
    this.#send({ to, isInternal: true, command: DOWN_HINT, value, session }, NO_OWNER);
  }
}
