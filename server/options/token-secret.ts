/** Which of the two ways to give the tokens' master secret counts. */
import { messageOf } from '../message-of.ts';
import { type OptionEntry, quote, type Resolved, sourceName, UsageError } from './option.ts';

export interface TokenSecretOptions {
  readonly tokenSecret: OptionEntry<Uint8Array | null>;
  readonly tokenSecretFile: OptionEntry<string | null>;
}

/**
 * The secret given directly or by a file; null when neither is. A flag wins over a variable; both
 * ways at the same level are an error, since one of them would be ignored in silence. `readText`
 * reads a file or throws. Throws UsageError with one line.
 */
export function chooseTokenSecret(
  options: TokenSecretOptions,
  secret: Resolved<Uint8Array | null>,
  file: Resolved<string | null>,
  readText: (path: string) => string,
  notice: (line: string) => void,
): Uint8Array | null {
  if (secret.value !== null && file.value !== null && secret.source === file.source) {
    const names = [
      sourceName(options.tokenSecret, secret.source),
      sourceName(options.tokenSecretFile, file.source),
    ];
    throw new UsageError(`${names.join(' and ')} are both given: expected one of them`);
  }
  if (file.value !== null && (secret.value === null || file.source === 'flag')) {
    return readSecretFile(options, file.value, file, readText);
  }
  if (secret.source === 'flag') {
    notice(
      `${options.tokenSecret.flag} can be read by every user of this machine (ps):` +
        ` prefer ${options.tokenSecret.env} or ${options.tokenSecretFile.flag}`,
    );
  }
  return secret.value;
}

function readSecretFile(
  options: TokenSecretOptions,
  path: string,
  file: Resolved<string | null>,
  readText: (path: string) => string,
): Uint8Array | null {
  let text: string;
  try {
    text = readText(path);
  } catch (error) {
    const reason = messageOf(error);
    throw new UsageError(
      `${sourceName(options.tokenSecretFile, file.source)} ${quote(path)}: ${reason}`,
    );
  }
  const result = options.tokenSecret.check.safeParse(text.trim());
  if (result.success) return result.data;
  const reason = result.error.issues[0]?.message ?? 'not allowed';
  throw new UsageError(
    `${sourceName(options.tokenSecretFile, file.source)} ${quote(path)}: in the file ${reason}`,
  );
}
