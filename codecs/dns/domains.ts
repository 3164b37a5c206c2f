import { DISCOVERY_MAX_LABEL_BYTES, MAX_NAME_BYTES } from './constants.ts';
import { FOLD, type FoldedName } from './name.ts';
import { encodeName } from './text.ts';

/** Configured domains: every query is compared with each. */
export const MAX_DOMAINS = 64;
/** A domain in wire form leaves room in a name for an id of 64 characters. */
export const MAX_DOMAIN_BYTES = MAX_NAME_BYTES - 1 - DISCOVERY_MAX_LABEL_BYTES;

/**
 * The domains a server answers for; index 0 is the default domain, the one that a bare single-label
 * name belongs to. Domains may have any depth and may nest: the longest match wins.
 */
export class DomainTable {
  /** As configured, without a final dot. */
  readonly names: readonly string[];
  readonly count: number;
  /** Per domain, wire form with the root, case as configured: for names that are written out. */
  readonly wires: readonly Uint8Array[];
  /** Per domain, wire form without the root, folded: for matching. */
  readonly #folded: readonly Uint8Array[];
  readonly #labelCounts: Uint8Array;
  /** Domain indexes, longest domain first. */
  readonly #order: Uint8Array;

  /** Throws a RangeError that names the domain and what is allowed. */
  constructor(domains: readonly string[]) {
    if (domains.length < 1 || domains.length > MAX_DOMAINS) {
      throw new RangeError(`${domains.length} domains: expected 1 to ${MAX_DOMAINS}`);
    }
    this.wires = domains.map(encodeDomain);
    this.names = domains.map((domain) => domain.replace(/\.$/, ''));
    this.count = domains.length;
    this.#folded = this.wires.map((wire) => wire.subarray(0, -1).map((byte) => FOLD[byte]));
    const texts = new Set(this.#folded.map((wire) => wire.join()));
    if (texts.size < domains.length) {
      throw new RangeError(`domains ${this.names.join(', ')}: one of them is given twice`);
    }
    this.#labelCounts = Uint8Array.from(this.#folded, countLabels);
    const order = domains.map((_, index) => index);
    order.sort((a, b) => this.wires[b].length - this.wires[a].length);
    this.#order = Uint8Array.from(order);
  }

  /**
   * The index of the longest domain that `name` ends in at a label boundary, or -1 when it is
   * foreign (so is the root). Sets `name.keyEnd` to where the id part ends: 0 at the apex. A single
   * label that is no domain itself belongs to domain 0 with the whole name as its id.
   */
  match(name: FoldedName): number {
    const end = name.end;
    for (let i = 0; i < this.#order.length; i++) {
      const index = this.#order[i];
      const first = name.labelCount - this.#labelCounts[index];
      if (first < 0) continue;
      const domain = this.#folded[index];
      const suffix = end - domain.length;
      if (first === 0 ? suffix !== 0 : name.labelStarts[first] !== suffix) continue;
      if (endsWith(name.folded, suffix, domain)) {
        name.keyEnd = suffix;
        return index;
      }
    }
    if (name.labelCount !== 1) return -1;
    name.keyEnd = end;
    return 0;
  }
}

function endsWith(folded: Uint8Array, from: number, domain: Uint8Array): boolean {
  for (let i = 0; i < domain.length; i++) if (folded[from + i] !== domain[i]) return false;
  return true;
}

function countLabels(wire: Uint8Array): number {
  let labels = 0;
  for (let at = 0; at < wire.length; at += 1 + wire[at]) labels++;
  return labels;
}

function encodeDomain(domain: string): Uint8Array {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly these are refused
  if (/[\x00-\x20\x7f]/.test(domain)) {
    throw new RangeError(`domain ${JSON.stringify(domain)}: no spaces or control characters`);
  }
  const wire = encodeName(domain);
  if (wire.length === 1) {
    throw new RangeError(`domain ${JSON.stringify(domain)}: expected at least one label`);
  }
  if (wire.length > MAX_DOMAIN_BYTES) {
    throw new RangeError(
      `domain ${JSON.stringify(domain)} has ${wire.length} bytes: ` +
        `at most ${MAX_DOMAIN_BYTES} leave room for ids`,
    );
  }
  return wire;
}
