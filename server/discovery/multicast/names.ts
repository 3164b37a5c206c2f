/** Names of one domain between ids and the text that npm dns-packet takes and gives. */
import * as dnsPacket from 'dns-packet';
import { DISCOVERY_MAX_LABEL_BYTES } from '../../../codecs/dns/constants.ts';
import { encodeName } from '../../../codecs/dns/text.ts';

/** Its codec of names, which its types leave out. */
interface NameCodec {
  encode(name: string): Uint8Array;
}

/** Bytes of a name in text that surely fit in 255. */
const SURE_CHARACTERS = 253;
/** Names that are written as they are read, without a look at each byte. */
const PLAIN_NAME = /^[\w-]{1,63}(\.[\w-]{1,63})*$/;

const { name: codec } = dnsPacket as unknown as { readonly name: NameCodec };

export class MulticastNames {
  /** As dns-packet writes it. */
  readonly domain: string;
  /** The wire form of the domain's first label, folded: a message about us has it somewhere. */
  readonly #mark: Uint8Array;
  readonly #suffix: string;

  /** @throws RangeError for a domain that cannot be sent over multicast DNS. */
  constructor(domain: string) {
    const wire = encodeName(domain);
    this.domain = labelsOf(wire);
    checkEncoding(this.domain, wire);
    this.#suffix = `.${foldAscii(this.domain)}`;
    this.#mark = wire.slice(0, 1 + wire[0]).map(foldByte);
  }

  /**
   * The name of `id` under the domain, for dns-packet. A label may have 64 bytes, as the original
   * sends them. Backslashes are ordinary characters.
   *
   * @throws RangeError for what is no name, or what dns-packet would write as another one.
   */
  nameOf(id: string): string {
    const name = `${id}.${this.domain}`;
    const wire = encodeName(name.replaceAll('\\', '\\\\'), DISCOVERY_MAX_LABEL_BYTES);
    checkEncoding(name, wire);
    return name;
  }

  /** Whether `nameOf` would take it. */
  isSendable(name: string): boolean {
    if (name.length <= SURE_CHARACTERS && PLAIN_NAME.test(name)) return true;
    try {
      const wire = encodeName(name.replaceAll('\\', '\\\\'), DISCOVERY_MAX_LABEL_BYTES);
      checkEncoding(name, wire);
      return true;
    } catch {
      return false;
    }
  }

  /** The id in front of the domain; '' for the domain itself, null for a name of another domain. */
  idOf(name: unknown): string | null {
    if (typeof name !== 'string') return null;
    const suffix = this.#suffix;
    if (name.length < suffix.length - 1) return null;
    if (name.length === suffix.length - 1) return foldAscii(name) === suffix.slice(1) ? '' : null;
    // No more than the end is folded: most questions are about other names.
    return foldAscii(name.slice(-suffix.length)) === suffix ? name.slice(0, -suffix.length) : null;
  }

  /** Whether a message may have a name of this domain in it: all others need no decoding. */
  isIn(bytes: Uint8Array): boolean {
    const mark = this.#mark;
    const last = bytes.length - mark.length;
    for (let at = 0; at <= last; at++) {
      if (bytes[at] !== mark[0]) continue;
      let i = 1;
      while (i < mark.length && foldByte(bytes[at + i]) === mark[i]) i++;
      if (i === mark.length) return true;
    }
    return false;
  }
}

/** As `foldCase` of local records, in time linear in the length, whatever the text. */
export function foldAscii(text: string): string {
  if (!/[A-Z]/.test(text)) return text;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII
  if (/^[\x00-\x7f]*$/.test(text)) return text.toLowerCase();
  const units = Buffer.from(text, 'utf16le');
  for (let i = 0; i < units.length; i += 2) {
    if (units[i + 1] === 0) units[i] = foldByte(units[i]);
  }
  return units.toString('utf16le');
}

function foldByte(byte: number): number {
  return byte >= 0x41 && byte <= 0x5a ? byte + 32 : byte;
}

/** The labels of an uncompressed name as text, with dots between. */
function labelsOf(wire: Uint8Array): string {
  const labels: string[] = [];
  for (let at = 0; wire[at] !== 0; at += 1 + wire[at]) {
    labels.push(new TextDecoder().decode(wire.subarray(at + 1, at + 1 + wire[at])));
  }
  return labels.join('.');
}

/** dns-packet splits at every dot, drops some, and writes long labels as pointers. */
function checkEncoding(name: string, wire: Uint8Array): void {
  if (Buffer.compare(codec.encode(name), wire) === 0) return;
  throw new RangeError(
    `name ${JSON.stringify(name)}: multicast DNS cannot have dots or line ends within a label`,
  );
}
