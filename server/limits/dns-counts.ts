/** What the header of a DNS message says of its records, before anything is decoded. */
import { HEADER_ANCOUNT, HEADER_ARCOUNT } from '../../codecs/dns/constants.ts';
import { SLOT_BYTES, SLOT_HEADER_BYTES, type Slab } from '../../workers/slab.ts';

/** Whether the query in `slot`, of 12 bytes or more, may have an OPT record: then it is EDNS. */
export function hasAdditionals(slab: Slab, slot: number): boolean {
  return isNonZero(slab, slot, HEADER_ARCOUNT);
}

/**
 * Whether the query in `slot` may hold what proves its source: a cookie is among the additional
 * records, a token there or among the answers (clients put their announces in either). One that may
 * not and has BUDGET_SILENT is not worth decoding.
 */
export function canProve(slab: Slab, slot: number): boolean {
  return isNonZero(slab, slot, HEADER_ARCOUNT) || isNonZero(slab, slot, HEADER_ANCOUNT);
}

function isNonZero(slab: Slab, slot: number, field: number): boolean {
  const at = slot * SLOT_BYTES + SLOT_HEADER_BYTES + field;
  return (slab.bytes[at] | slab.bytes[at + 1]) !== 0;
}
