/** The tap behind the event `traffic`: nothing is decoded while nobody listens to it. */
import type { TrafficDetails, TrafficType } from './types.ts';

export interface TrafficTap {
  /** Ask first: what is told costs decoding. */
  isWanted(): boolean;
  tell(type: TrafficType, details: TrafficDetails): void;
}
