/** What an answer means for the question it answers. */
import type { Answer } from '../../../codecs/dns/client-answer.ts';
import type { Question } from '../../../codecs/dns/client-query.ts';
import { EDNS_PEERS4, EDNS_PEERS6, EDNS_UDP_BYTES, RCODE } from '../../../codecs/dns/constants.ts';
import type { ServerAddress } from './server-address.ts';

/** What one more peer would have taken: 24 characters and a string's head. */
const ROOM_BYTES = 32;

/** Whether the server has another token for us than the one it was sent: that one was not heard. */
export function isStale(question: Question, answer: Answer): boolean {
  return question.kind !== 'probe' && answer.token !== null && answer.token !== question.token;
}

/** What servers that do not know EDNS say to it (RFC 6891 7). */
export function isWithoutEdns({ rcode, hasOpt }: Answer): boolean {
  return (rcode === RCODE.FORMERR || rcode === RCODE.NOTIMP) && !hasOpt;
}

/**
 * Whether a datagram was too small for all peers of the name: servers of ours then tell a random
 * choice of them and do not call it truncated.
 */
export function isCrowd({ hasOpt, peers }: Answer, bytes: number): boolean {
  if (!hasOpt || peers.length < EDNS_PEERS6) return false;
  if (bytes > EDNS_UDP_BYTES - ROOM_BYTES) return true;
  const peers6 = peers.filter(({ host }) => host.includes(':')).length;
  return peers6 >= EDNS_PEERS6 || peers.length - peers6 >= EDNS_PEERS4;
}

const RCODE_NAMES = new Map<number, string>(
  Object.entries(RCODE).map(([name, rcode]) => [rcode, name]),
);

/** What to tell of an answer that is none. */
export function refusal({ host }: ServerAddress, { rcode }: Answer): Error {
  if (rcode === RCODE.NOERROR) return new Error(`${host} is no discovery server for this domain`);
  const name = RCODE_NAMES.get(rcode) ?? `code ${rcode}`;
  const hint = rcode === RCODE.REFUSED ? ': it does not serve this domain' : '';
  return new Error(`${host} answered ${name}${hint}`);
}
