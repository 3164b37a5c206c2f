/** An instance of npm multicast-dns of our own: behind a guard, on every interface. */
import type { RemoteInfo } from 'node:dgram';
import type { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import type { Clock } from '../../clock.ts';
import type { CreateSocket } from '../../net/multicast/group-socket.ts';
import type { ListInterfaces, MulticastLink } from '../../net/multicast/interfaces.ts';
import { ALL_GROUPS, MulticastSocket } from '../../net/multicast/socket.ts';
import type { MulticastDns } from '../types.ts';
import { readLongLabels } from './long-labels.ts';

/** What is used of npm multicast-dns 7.2.5. */
type MakeMulticastDns = (options: object) => MulticastDns & EventEmitter;

export interface OwnInstanceOptions {
  readonly interfaces: readonly string[] | null;
  readonly clock: Pick<Clock, 'now' | 'every'>;
  /** Whether a message that has passed the guard is worth decoding. */
  readonly isWanted: (bytes: Uint8Array) => boolean;
  readonly onJoined: (link: MulticastLink) => void;
  readonly list?: ListInterfaces;
  readonly create?: CreateSocket;
  readonly port?: number;
}

/** An instance and its socket; open the socket once listeners are attached. */
export interface OwnInstance {
  readonly instance: MulticastDns;
  readonly socket: MulticastSocket;
}

/** Makes an instance that neither binds nor joins: the socket it is given does. */
export function makeOwnInstance(options: OwnInstanceOptions): OwnInstance {
  // Loaded here: a program that only asks servers does without.
  const make = createRequire(import.meta.url)('multicast-dns') as MakeMulticastDns;
  const socket = new MulticastSocket({
    ...options,
    admit: (bytes, from) => {
      if (!options.isWanted(bytes)) return false;
      return !tellLong(instance, bytes, from);
    },
  });
  const instance = make({ socket, bind: false, multicast: false, ip: ALL_GROUPS });
  // Messages that cannot be decoded, and what goes wrong while the network changes: not for users.
  instance.on('warning', () => undefined);
  return { instance, socket };
}

/** Emits, in the place of multicast-dns, a message that dns-packet refuses to read. */
function tellLong(instance: EventEmitter, bytes: Uint8Array, from: RemoteInfo): boolean {
  const message = readLongLabels(bytes);
  if (message === null) return false;
  instance.emit(message.type, message, from);
  return true;
}
