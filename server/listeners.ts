/**
 * Opens the sockets of a listen list. An address the user named must open. Of the default list each
 * address that does not is a notice with what to do about it, as long as one opens.
 */
import { describeBackend, openUdp } from './net/open-udp.ts';
import type { UdpSocket, UdpSocketOptions } from './net/udp-socket.ts';
import type { ApplianceConfig, ListenAddress } from './options/config.ts';
import { explainListenError } from './options/listen-error.ts';

/** What a socket gets from the appliance, by its number. */
export type SocketParts = Omit<UdpSocketOptions, 'address' | 'port'>;

/** Opens `config.dns`. Rejects with an Error whose message tells what failed and what to do. */
export async function openListeners(
  config: ApplianceConfig,
  partsOf: (receiver: number) => SocketParts,
): Promise<UdpSocket[]> {
  const { dns, udpBackend, notice } = config;
  if (dns === 'off') return [];
  notice(`udp backend: ${describeBackend(udpBackend).reason}`);
  const sockets: UdpSocket[] = [];
  const failures: string[] = [];
  for (const at of dns) {
    const options = { ...partsOf(sockets.length), address: at.address, port: at.port };
    try {
      sockets.push(await openUdp(options, udpBackend));
    } catch (error) {
      const line = explainListenError(error, at);
      if (config.dnsRequired && !isMissingIpv6(error, at)) {
        await closeAll(sockets);
        throw new Error(line, { cause: error });
      }
      failures.push(line);
    }
  }
  if (sockets.length === 0) throw new Error(failures.join('\n'));
  try {
    for (const line of failures) notice(line);
  } catch (error) {
    await closeAll(sockets);
    throw error;
  }
  return sockets;
}

/** The `::` that a bare port stands for is no loss on a machine without IPv6. */
function isMissingIpv6(error: unknown, at: ListenAddress): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : '';
  return at.ifIpv6 === true && (code === 'EAFNOSUPPORT' || code === 'EADDRNOTAVAIL');
}

async function closeAll(sockets: readonly UdpSocket[]): Promise<void> {
  await Promise.all(sockets.map((socket) => socket.close()));
}
