/** Opens a UDP socket on the backend asked for, or on the best one there is. */
import { BatchSocket } from './batch-socket.ts';
import { DgramSocket } from './dgram-socket.ts';
import { loadAddon } from './native/addon.ts';
import {
  checkUdpOptions,
  type UdpBackend,
  type UdpSocket,
  type UdpSocketOptions,
} from './udp-socket.ts';

export type UdpBackendChoice = 'auto' | UdpBackend;

/**
 * Which backend a choice comes to, and one plain line that says why, such as "batch
 * (recvmmsg/sendmmsg addon)". Throws an Error that says what to do when `batch` is asked for and
 * cannot be had.
 */
export function describeBackend(requested: UdpBackendChoice): {
  backend: UdpBackend;
  reason: string;
} {
  if (requested === 'dgram') return { backend: 'dgram', reason: 'dgram (asked for)' };
  const loaded = loadAddon();
  if (loaded.addon !== null) {
    return { backend: 'batch', reason: 'batch (recvmmsg/sendmmsg addon)' };
  }
  if (requested === 'batch') {
    throw new Error(`the UDP backend 'batch' is not available: ${loaded.reason}; or use 'dgram'`);
  }
  return { backend: 'dgram', reason: `dgram (${loaded.reason})` };
}

/**
 * Opens and binds a socket. Rejects with the system's error (`code`, `syscall`) or a RangeError.
 */
export async function openUdp(
  options: UdpSocketOptions,
  backend: UdpBackendChoice,
): Promise<UdpSocket> {
  checkUdpOptions(options);
  describeBackend(backend);
  const loaded = backend === 'dgram' ? null : loadAddon();
  if (loaded?.addon) return new BatchSocket(loaded.addon, options);
  return DgramSocket.open(options);
}
