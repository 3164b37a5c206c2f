/** The checks that options are made of: numbers, choices, names, secrets. */
import { isIP } from 'node:net';
import type { z } from 'zod';
import { MAX_NAME_BYTES, MAX_NSID_BYTES } from '../../codecs/dns/constants.ts';
import { DomainTable } from '../../codecs/dns/domains.ts';
import { encodeNsid } from '../../codecs/dns/edns.ts';
import { encodeName } from '../../codecs/dns/text.ts';
import { type CookieSecrets, parseCookieSecrets } from '../../workers/cookies.ts';
import { quote, Refusal, readAs } from './option.ts';

/** TTLs are 31 bits on the wire (RFC 2181 section 8). */
export const MAX_TTL_SECONDS = 2_147_483_647;

/** A shorter master secret could be guessed, a longer one adds nothing to HMAC-SHA-512. */
export const MIN_SECRET_BYTES = 32;
export const MAX_SECRET_BYTES = 64;

/** Digits only: no sign, fraction, exponent or hex. Ten digits hold every number asked for. */
const WHOLE_NUMBER = /^\d{1,10}$/;

/** A whole number from `min` to `max`. */
export function wholeNumber(min: number, max: number, what: string): z.ZodType<number, string> {
  return readAs((text) => {
    const value = Number(text);
    if (WHOLE_NUMBER.test(text) && value >= min && value <= max) return value;
    return new Refusal(`expected ${what}, ${min} to ${max}`);
  });
}

/** Seconds; `0` and `infinity` both mean for ever and give 0. */
export function ttl(): z.ZodType<number, string> {
  return readAs((text) => {
    if (/^infinity$/i.test(text)) return 0;
    const value = Number(text);
    if (WHOLE_NUMBER.test(text) && value <= MAX_TTL_SECONDS) return value;
    return new Refusal(
      `expected whole seconds, 1 to ${MAX_TTL_SECONDS}, or 0 or infinity for ever`,
    );
  });
}

/** One of a few words. */
export function choice<const W extends string>(words: readonly W[]): z.ZodType<W, string> {
  return readAs((text) => {
    const found = words.find((word) => word === text);
    return found ?? new Refusal(`expected ${words.slice(0, -1).join(', ')} or ${words.at(-1)}`);
  });
}

/** 32 to 64 bytes in hex. */
export function secretHex(): z.ZodType<Uint8Array | null, string> {
  return readAs((text) => {
    const bytes = text.length / 2;
    const sized = bytes >= MIN_SECRET_BYTES && bytes <= MAX_SECRET_BYTES;
    if (sized && Number.isInteger(bytes) && /^[0-9a-f]*$/i.test(text)) {
      return new Uint8Array(Buffer.from(text, 'hex'));
    }
    return new Refusal(
      `expected ${MIN_SECRET_BYTES} to ${MAX_SECRET_BYTES} bytes in hex` +
        ` (${MIN_SECRET_BYTES * 2} to ${MAX_SECRET_BYTES * 2} digits)`,
    );
  });
}

/** One or two secrets of 16 bytes in hex, separated by a comma. */
export function cookieSecrets(): z.ZodType<CookieSecrets | null, string> {
  return readAs((text) => {
    try {
      return parseCookieSecrets(text.replace(/\s/g, ''));
    } catch (error) {
      if (error instanceof RangeError) return new Refusal(error.message);
      throw error;
    }
  });
}

/** Printable ASCII, short enough for every answer. */
export function nsidText(): z.ZodType<Uint8Array | null, string> {
  return readAs((text) => {
    try {
      return encodeNsid(text);
    } catch (error) {
      // The codec repeats the text, however long it is.
      if (!(error instanceof RangeError)) throw error;
      return new Refusal(`expected 1 to ${MAX_NSID_BYTES} printable ASCII characters`);
    }
  });
}

/** A path: any text but the empty one. */
export function filePath(): z.ZodType<string | null, string> {
  return readAs((text) => (text === '' ? new Refusal('expected the path of a file') : text));
}

/** Comma-separated domains of any depth, lower-cased, without a trailing dot, each one once. */
export function domainList(): z.ZodType<readonly string[], string> {
  return readAs((text) => {
    const domains = new Set<string>();
    for (const part of text.split(',')) {
      const domain = plainName(part);
      const problem = domain === '' ? NO_DOMAIN : characterProblem(domain);
      if (problem !== null) return new Refusal(problem);
      domains.add(domain);
    }
    // The rest is the codec's to say: labels, lengths, how many.
    const names = Array.from(domains);
    return refusalOf(() => new DomainTable(names)) ?? names;
  });
}

/** A host name, lower-cased, without a trailing dot. */
export function hostName(): z.ZodType<string | null, string> {
  return readAs((text) => {
    const name = plainName(text);
    if (name === '' || isIP(name) !== 0) {
      return new Refusal('expected a host name such as ns1.example.com');
    }
    const problem = characterProblem(name);
    if (problem !== null) return new Refusal(problem);
    return refusalOf(() => encodeName(name)) ?? name;
  });
}

const NO_DOMAIN = 'expected names such as dns-discovery.local, separated by commas';

function plainName(text: string): string {
  return text.trim().toLowerCase().replace(/\.$/, '');
}

/** Names on the wire may hold any byte; those an operator gives are of the usual characters. */
function characterProblem(name: string): string | null {
  // The codec repeats the name in what it says: keep that short.
  if (name.length > MAX_NAME_BYTES) {
    return `${quote(name)} is too long: a name has at most ${MAX_NAME_BYTES} bytes`;
  }
  for (const label of name.split('.')) {
    if (label === '' || /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?$/.test(label)) continue;
    return (
      `label ${quote(label)}: expected letters, digits, - and _, not starting or ending with -` +
      ' (write an international name in its xn-- form)'
    );
  }
  return null;
}

/** What a check of the codecs throws, as a refusal; null when it throws nothing. */
function refusalOf(check: () => unknown): Refusal | null {
  try {
    check();
    return null;
  } catch (error) {
    if (error instanceof RangeError) return new Refusal(error.message);
    throw error;
  }
}
