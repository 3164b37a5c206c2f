/** Names between text and wire form, for cold code: options, logs, state, tests. */
import { MAX_LABEL_BYTES, MAX_NAME_BYTES } from './constants.ts';

const utf8 = new TextEncoder();
const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The wire form of `text` with the root's 0, case kept. A final dot is allowed; `''` and `'.'` are
 * the root. `\.`, `\\` and `\DDD` (RFC 1035 5.1) stand for one byte of a label; other characters
 * are taken as UTF-8. Throws a RangeError for an empty label, one over `maxLabelBytes`, or a name
 * over 255 bytes: some encoders write such a label's length as a compression pointer.
 */
export function encodeName(text: string, maxLabelBytes = MAX_LABEL_BYTES): Uint8Array {
  const out: number[] = [];
  if (text !== '' && text !== '.') {
    const labels = splitLabels(text);
    if (labels.at(-1)?.length === 0) labels.pop();
    for (const label of labels) {
      if (label.length < 1 || label.length > maxLabelBytes) {
        throw new RangeError(
          `name ${JSON.stringify(text)} has a label of ${label.length} bytes: ` +
            `expected 1 to ${maxLabelBytes}`,
        );
      }
      out.push(label.length, ...label);
    }
  }
  out.push(0);
  if (out.length > MAX_NAME_BYTES) {
    throw new RangeError(
      `name ${JSON.stringify(text)} has ${out.length} bytes: expected at most ${MAX_NAME_BYTES}`,
    );
  }
  return Uint8Array.from(out);
}

function splitLabels(text: string): number[][] {
  let label: number[] = [];
  const labels = [label];
  for (const [token] of text.matchAll(/\\(?:\d{3}|[^\d])|[^\\]|\\/gsu)) {
    if (token === '.') {
      label = [];
      labels.push(label);
    } else if (/^\\\d{3}$/.test(token)) {
      const byte = Number(token.slice(1));
      if (byte > 255) throw new RangeError(`name ${JSON.stringify(text)}: ${token} is no byte`);
      label.push(byte);
    } else if (token === '\\') {
      throw new RangeError(`name ${JSON.stringify(text)}: a lone backslash; write \\\\ or \\DDD`);
    } else {
      label.push(...utf8.encode(token.startsWith('\\') ? token.slice(1) : token));
    }
  }
  return labels;
}

/**
 * The text of the labels at bytes[offset..end) in wire form, up to the root's 0 or `end`, whichever
 * comes first, without a final dot; `'.'` for the root. What `encodeName` takes back. Undefined
 * when malformed or compressed. Labels may have 64 bytes.
 */
export function decodeName(bytes: Uint8Array, offset: number, end: number): string | undefined {
  const labels: string[] = [];
  let at = offset;
  while (at < end && bytes[at] !== 0) {
    const next = at + 1 + bytes[at];
    if (bytes[at] > MAX_LABEL_BYTES + 1 || next > end || next - offset >= MAX_NAME_BYTES) {
      return undefined;
    }
    labels.push(labelText(bytes.slice(at + 1, next)));
    at = next;
  }
  return labels.length === 0 ? '.' : labels.join('.');
}

function labelText(label: Uint8Array): string {
  let text: string;
  try {
    text = strictUtf8.decode(label);
  } catch {
    return Array.from(label, (byte) =>
      byte < 0x80 ? escapeAscii(String.fromCharCode(byte)) : `\\${byte}`,
    ).join('');
  }
  return Array.from(text, escapeAscii).join('');
}

function escapeAscii(character: string): string {
  if (character === '.' || character === '\\') return `\\${character}`;
  const code = character.codePointAt(0) ?? 0;
  return code <= 0x20 || code === 0x7f ? `\\${String(code).padStart(3, '0')}` : character;
}
