/**
 * The datagrams of attacks and of the proven client, made once and then patched in place: a name's
 * number, a token, a port.
 */
import { encode, type RecordType } from 'dns-packet';
import { TOKEN_TEXT_BYTES } from '../../codecs/dns/constants.ts';
import { loadVectors, mutate, Rng } from '../../test/helpers/dns-bytes.ts';
import type { TokenMaker } from './house.ts';
import type { Sources } from './sources.ts';

export const DOMAIN = 'dns-discovery.local';
/** The types asked for; dns-packet's own type leaves ANY out. */
type Question = RecordType | 'ANY';
/** Writes the n-th message, which comes from `source`, at bytes[start..]; returns its length. */
export type Write = (bytes: Uint8Array, start: number, n: number, source: number) => number;

/** Ids are 40 hex characters, as info hashes are; their first 8 are the number of the name. */
const ID_ZEROS = '0'.repeat(40);
const NUMBER_CHARS = 8;
const PORT_CHARS = 5;
const RECURSION_DESIRED = 0x100;
const EDNS_BYTES = 4096;
const HEX = Buffer.from('0123456789abcdef');
const TOKEN_PLACE = 'T'.repeat(TOKEN_TEXT_BYTES);
const PORT_PLACE = '0'.repeat(PORT_CHARS);
const MUTANTS = 8192;

/** The id of a name by its number. */
export function idOf(number: number): string {
  return number.toString(16).padStart(NUMBER_CHARS, '0').padEnd(ID_ZEROS.length, '0');
}

/** The tokens of the addresses an attack has: the n-th datagram is from address n % count. */
export class TokenTable {
  readonly chars: Uint8Array;
  readonly #count: number;

  constructor(maker: TokenMaker, sources: Sources, count: number) {
    this.#count = count;
    this.chars = new Uint8Array(count * TOKEN_TEXT_BYTES);
    for (let n = 0; n < count; n++) maker.write(sources(n), this.chars, n * TOKEN_TEXT_BYTES);
  }

  /** Where the token of the n-th datagram's source is in `chars`. */
  at(n: number): number {
    return (n % this.#count) * TOKEN_TEXT_BYTES;
  }
}

/** A message with places in it that are written anew each time. */
export class Template {
  readonly length: number;
  readonly #message: Buffer;
  readonly #names: readonly number[];
  readonly #token: number;
  readonly #port: number;

  constructor(type: Question, strings: readonly string[] | null, edns = false) {
    const name = `${ID_ZEROS}.${DOMAIN}`;
    const additionals: object[] = [];
    if (strings !== null) additionals.push({ type: 'TXT', name, ttl: 0, data: [...strings] });
    if (edns) additionals.push({ type: 'OPT', name: '.', udpPayloadSize: EDNS_BYTES, flags: 0 });
    this.#message = encode({
      type: 'query',
      id: 1,
      flags: RECURSION_DESIRED,
      questions: [{ type: type as RecordType, name }],
      additionals: additionals as never,
    });
    this.length = this.#message.length;
    this.#names = places(this.#message, ID_ZEROS);
    this.#token = this.#message.indexOf(TOKEN_PLACE);
    this.#port = this.#message.indexOf(`announce=${PORT_PLACE}`) + 'announce='.length;
  }

  /** What stands for a token and a port in a template's strings. */
  static readonly token = `token=${TOKEN_PLACE}`;
  static readonly announce = `announce=${PORT_PLACE}`;
  static readonly unannounce = `unannounce=${PORT_PLACE}`;

  write(bytes: Uint8Array, start: number, id: number, name: number): number {
    bytes.set(this.#message, start);
    bytes[start] = id >> 8;
    bytes[start + 1] = id;
    for (const at of this.#names) {
      for (let i = 0; i < NUMBER_CHARS; i++) {
        bytes[start + at + i] = HEX[(name >>> (4 * (NUMBER_CHARS - 1 - i))) & 15];
      }
    }
    return this.length;
  }

  writeToken(bytes: Uint8Array, start: number, chars: Uint8Array, from: number): void {
    for (let i = 0; i < TOKEN_TEXT_BYTES; i++) bytes[start + this.#token + i] = chars[from + i];
  }

  writePort(bytes: Uint8Array, start: number, port: number): void {
    let rest = port;
    for (let i = PORT_CHARS - 1; i >= 0; i--) {
      bytes[start + this.#port + i] = 0x30 + (rest % 10);
      rest = Math.floor(rest / 10);
    }
  }
}

function places(message: Buffer, text: string): number[] {
  const found: number[] = [];
  let at = message.indexOf(text);
  while (at >= 0) {
    found.push(at);
    at = message.indexOf(text, at + text.length);
  }
  return found;
}

/** Questions of a type for one name, with EDNS: what proves nothing and asks for much. */
export function questions(type: Question, name: number): Write {
  const template = new Template(type, null, true);
  return (bytes, start, n) => template.write(bytes, start, n, name);
}

/** Broken messages: mutants of real ones, the shortest there are, and plain noise. */
export function malformed(seed: number): Write {
  const rng = new Rng(seed);
  const seeds = loadVectors().map((vector) => Buffer.from(vector.hex, 'hex'));
  const mutants = Array.from({ length: MUTANTS }, (_, i) => {
    if (i % 4 === 3) return Uint8Array.from({ length: rng.below(512) }, () => rng.below(256));
    return mutate(seeds[rng.below(seeds.length)], rng);
  });
  return (bytes, start, n) => {
    const mutant = mutants[n % MUTANTS];
    bytes.set(mutant, start);
    return mutant.length;
  };
}

/** Announces under `nameOf(n)`, every time of another port, with valid tokens. */
export function announces(tokens: TokenTable, nameOf: (n: number) => number): Write {
  const template = new Template('TXT', [Template.token, Template.announce]);
  return (bytes, start, n) => {
    const length = template.write(bytes, start, n, nameOf(n));
    template.writeToken(bytes, start, tokens.chars, tokens.at(n));
    template.writePort(bytes, start, portOf(n));
    return length;
  };
}

/** Announces with tokens that are guessed. */
export function guesses(seed: number, name: number): Write {
  const template = new Template('TXT', [Template.token, Template.announce]);
  const rng = new Rng(seed);
  const alphabet = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
  const guess = new Uint8Array(TOKEN_TEXT_BYTES).fill(0x3d);
  return (bytes, start, n) => {
    for (let i = 0; i < TOKEN_TEXT_BYTES - 1; i++) guess[i] = alphabet[rng.next() >>> 26];
    const length = template.write(bytes, start, n, name);
    template.writeToken(bytes, start, guess, 0);
    template.writePort(bytes, start, portOf(n));
    return length;
  };
}

/** Subscribes, announces a new port and takes it back again, by turns, of one name. */
export function toggles(tokens: TokenTable, name: number): Write {
  const subscribe = new Template('TXT', [Template.token, 'subscribe=true']);
  const announce = new Template('TXT', [Template.token, Template.announce, 'subscribe=true']);
  const unannounce = new Template('TXT', [Template.token, Template.unannounce, 'subscribe=true']);
  const steps = [subscribe, announce, unannounce];
  return (bytes, start, n) => {
    // Each source takes its turn at each step.
    const step = n % 3;
    const template = steps[step];
    const length = template.write(bytes, start, n, name);
    template.writeToken(bytes, start, tokens.chars, tokens.at(n));
    if (step > 0) template.writePort(bytes, start, portOf(Math.floor(n / (3 * 4096))));
    return length;
  };
}

/** Announced ports go round all there are. */
function portOf(n: number): number {
  return 1 + (n % 65_535);
}
