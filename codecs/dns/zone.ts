/** A domain's own records, SOA and NS, encoded once and copied into answers. */
import { type Answer, encode } from 'dns-packet';
import { HEADER_BYTES, RECORD_FIXED_BYTES } from './constants.ts';
import { FOLD } from './name.ts';
import { encodeName } from './text.ts';

/** What a domain says about itself; seconds as in RFC 1035 3.3.13. */
export interface ZoneOptions {
  /** Name of the server: SOA's MNAME and the one NS record. Default `ns.<domain>`. */
  nameserver?: string;
  /** SOA's RNAME, the mailbox with a dot for the @. Default `hostmaster.<domain>`. */
  hostmaster?: string;
  serial?: number;
  refreshSeconds?: number;
  retrySeconds?: number;
  expireSeconds?: number;
  /** How long a resolver may remember that a name has nothing (RFC 2308). */
  negativeTtlSeconds?: number;
  /** TTL of SOA and NS records themselves. */
  ttlSeconds?: number;
}

/** Ids, as wire labels, that apex records point at by default: no peer may have them. */
export const RESERVED_IDS: readonly Uint8Array[] = ['ns', 'hostmaster'].map((id) =>
  encodeName(id).subarray(0, -1),
);

/** Announces appear at any time: a resolver that found nothing should soon ask again. */
export const NEGATIVE_TTL_SECONDS = 10;
/** SOA and NS hardly ever change. */
export const ZONE_TTL_SECONDS = 3600;

/**
 * One record from its type on; the owner comes before it. Names that end in the domain do so by a
 * pointer, which is filled in per message: `pointers` are the offsets of those in `bytes`.
 *
 *   | type | class | ttl | rdlength | 2 n s -> | 10 h o s t m a s t e r -> | serial ... minimum |
 */
export interface RecordTemplate {
  readonly bytes: Uint8Array;
  readonly pointers: Uint8Array;
}

export interface ZoneRecords {
  readonly soa: RecordTemplate;
  /** The SOA of a negative answer: its TTL is the negative one (RFC 2308 3). */
  readonly negativeSoa: RecordTemplate;
  readonly ns: RecordTemplate;
}

/** Encodes the records of `domain`. Throws a RangeError for names that are none. */
export function encodeZone(domain: string, options: ZoneOptions = {}): ZoneRecords {
  const nameserver = options.nameserver ?? `ns.${domain}`;
  const hostmaster = options.hostmaster ?? `hostmaster.${domain}`;
  const ttl = options.ttlSeconds ?? ZONE_TTL_SECONDS;
  const minimum = options.negativeTtlSeconds ?? NEGATIVE_TTL_SECONDS;
  const suffix = encodeName(domain);
  const data = {
    mname: '.',
    rname: '.',
    serial: options.serial ?? 1,
    refresh: options.refreshSeconds ?? 3600,
    retry: options.retrySeconds ?? 600,
    expire: options.expireSeconds ?? 86_400,
    minimum,
  };
  const names = [encodeName(nameserver), encodeName(hostmaster)];
  const soa = (seconds: number): RecordTemplate =>
    template({ type: 'SOA', name: '.', ttl: seconds, data }, names, suffix);
  return {
    soa: soa(ttl),
    negativeSoa: soa(Math.min(ttl, minimum)),
    ns: template({ type: 'NS', name: '.', ttl, data: '.' }, names.slice(0, 1), suffix),
  };
}

/**
 * `record` has roots for the names that its rdata begins with; `names` are their wire forms, made
 * by the encoder that checks labels.
 */
function template(record: Answer, names: Uint8Array[], suffix: Uint8Array): RecordTemplate {
  const encoded = encode({ type: 'response', answers: [record] }).subarray(HEADER_BYTES + 1);
  const bytes = [...encoded.subarray(0, RECORD_FIXED_BYTES)];
  const pointers: number[] = [];
  for (const name of names) {
    const kept = name.length - suffix.length;
    if (endsInDomain(name, suffix)) {
      pointers.push(bytes.length + kept);
      bytes.push(...name.subarray(0, kept), 0xc0, 0);
    } else {
      bytes.push(...name);
    }
  }
  bytes.push(...encoded.subarray(RECORD_FIXED_BYTES + names.length));
  const rdlength = bytes.length - RECORD_FIXED_BYTES;
  bytes[RECORD_FIXED_BYTES - 2] = rdlength >> 8;
  bytes[RECORD_FIXED_BYTES - 1] = rdlength & 0xff;
  return { bytes: Uint8Array.from(bytes), pointers: Uint8Array.from(pointers) };
}

function endsInDomain(name: Uint8Array, suffix: Uint8Array): boolean {
  const from = name.length - suffix.length;
  let at = 0;
  while (at < from) at += 1 + name[at];
  return at === from && suffix.every((byte, i) => FOLD[byte] === FOLD[name[from + i]]);
}
