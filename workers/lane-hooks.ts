/**
 * What the program that a server runs inside of may hang into its lane, which then runs inline: a
 * hook is a function, so it cannot go to a thread. A server of its own has none, which costs it a
 * look at null per announce and per question about a name.
 */
import type { Key } from './key.ts';
import type { OwnRecords } from './own-records.ts';

/**
 * Called with each announce that was stored, a renewal too: the key, the slot of the query and the
 * announced port. Key and slot hold what they do during the call only. Must not throw, nor call
 * anything that changes the lane's stores.
 */
export type AnnounceHook = (key: Key, slot: number, port: number) => void;

export interface LaneHooks {
  readonly onAnnounce: AnnounceHook | null;
  /** What the program announces itself, named in answers beside what is stored. */
  readonly own: OwnRecords | null;
}

export const NO_LANE_HOOKS: LaneHooks = { onAnnounce: null, own: null };
