/**
 * A receiver: what datagrams or messages come by, and their answers leave by. A UDP socket is one
 * (udp-socket.ts), all TCP connections together are one (tcp/tcp-receiver.ts). The pipeline knows
 * no more of either than this.
 */
export interface Receiver {
  /** Its number, as it stands in its slots' headers. */
  readonly receiver: number;
  /** Whether what it brings may be dropped at a busy lane: datagrams may, messages by TCP not. */
  readonly mayDrop: boolean;
  /**
   * Sends slots, of any owner, and returns how many were taken. What became of each is counted.
   * Slots of length 0 are skipped. Releases nothing.
   */
  send(slots: Int32Array, count: number): number;
  /** Puts slots back among this receiver's free ones. */
  release(slots: Int32Array, count: number): void;
}
