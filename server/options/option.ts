/**
 * One entry per option. Flag, short flag, environment variable, help, default and check of an
 * option are one value made by `option()`; the command line, the help pages, the environment and
 * the table in README.md are all derived from it.
 */
import { z } from 'zod';

/** Everything of an option but the type of its value. */
export interface AnyOption {
  readonly flag: `--${string}`;
  readonly short?: `-${string}`;
  /** What stands for the value in the help: `SECONDS`. Contains no `[`, which commander reads. */
  readonly placeholder: string;
  /**
   * Left out where a variable would do harm: Kubernetes sets WAYPOST_PORT in every pod beside a
   * Service named waypost.
   */
  readonly env?: `WAYPOST_${string}`;
  readonly help: string;
  /** The default as a user would write it, checked like any other value; null = none. */
  readonly fallback: string | null;
  /** May be given several times; the values are joined with commas. */
  readonly repeatable?: true;
  /** Never shown in an error. */
  readonly secret?: true;
  readonly check: z.ZodType<unknown, string>;
}

/** An option whose value is a T; only one that takes null may go without a default. */
export interface OptionEntry<T> extends AnyOption {
  readonly fallback: string | Extract<T, null>;
  readonly check: z.ZodType<T, string>;
}

/** The options of one command by name; the name is the flag in camel case. */
export type OptionGroup = Readonly<Record<string, AnyOption>>;

export type OptionSource = 'flag' | 'environment' | 'default';

export interface Resolved<T> {
  readonly value: T;
  readonly source: OptionSource;
}

export type ResolvedGroup<G extends OptionGroup> = {
  readonly [K in keyof G]: G[K] extends OptionEntry<infer T> ? Resolved<T> : never;
};

export type FlagValues = Readonly<Record<string, string | undefined>>;
export type Environment = Readonly<Record<string, string | undefined>>;

/** The user asked for something that does not exist or is not allowed: exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** The longest part of a wrong value repeated in an error: enough to recognise it. */
const SHOWN_VALUE_CHARACTERS = 80;

export function option<T>(entry: OptionEntry<T>): OptionEntry<T> {
  return entry;
}

type SwitchEntry = Pick<AnyOption, 'flag' | 'help' | 'env'> & {
  readonly fallback: 'true' | 'false';
};

/** A flag that is there or not; `--flag=true` and `--flag=false` say the same in words. */
export function switchOption(entry: SwitchEntry): OptionEntry<boolean> {
  const check = readAs((text) => {
    if (text === 'true' || text === 'false') return text === 'true';
    return new Refusal('expected true or false, or nothing for true');
  });
  return option({ ...entry, placeholder: '', check });
}

/** The same option with another default, for a command that differs in nothing else. */
export function withFallback<T>(entry: OptionEntry<T>, fallback: string): OptionEntry<T> {
  return { ...entry, fallback };
}

/** `--udp-backend` -> `udpBackend`: the name of an option in its group and in the flags given. */
export function optionKey(entry: { readonly flag: string }): string {
  return entry.flag.slice(2).replace(/-(.)/g, (_all, letter: string) => letter.toUpperCase());
}

/** A text read by `read`, which returns the value, or a Refusal that says what is allowed. */
export function readAs<T>(read: (text: string) => T | Refusal): z.ZodType<T, string> {
  return z.string().transform((text, context) => {
    const value = read(text);
    if (!(value instanceof Refusal)) return value;
    context.addIssue({ code: 'custom', message: value.message });
    return z.NEVER;
  });
}

/** Why a value was not taken, as the end of a sentence. */
export class Refusal {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

/**
 * The values of a group. A flag wins over the environment, the environment over the default; an
 * empty variable counts as not set. Throws UsageError with one line on the first wrong value.
 */
export function resolveOptions<G extends OptionGroup>(
  group: G,
  flags: FlagValues,
  env: Environment,
): ResolvedGroup<G> {
  const resolved: Record<string, Resolved<unknown>> = {};
  for (const [key, entry] of Object.entries(group)) resolved[key] = resolve(entry, flags, env);
  return resolved as ResolvedGroup<G>;
}

function resolve(entry: AnyOption, flags: FlagValues, env: Environment): Resolved<unknown> {
  const flag = flags[optionKey(entry)];
  if (flag !== undefined) return { value: checkValue(entry, flag, 'flag'), source: 'flag' };
  const variable = entry.env === undefined ? undefined : env[entry.env];
  if (variable !== undefined && variable !== '') {
    return { value: checkValue(entry, variable, 'environment'), source: 'environment' };
  }
  if (entry.fallback === null) return { value: entry.fallback, source: 'default' };
  return { value: checkValue(entry, entry.fallback, 'default'), source: 'default' };
}

/** Checks one value. Throws UsageError naming the option, the value and what is allowed. */
function checkValue(entry: AnyOption, text: string, source: OptionSource): unknown {
  const result = entry.check.safeParse(text);
  if (result.success) return result.data;
  const reason = result.error.issues[0]?.message ?? 'not allowed';
  const shown = entry.secret ? `(${text.length} characters, not shown)` : quote(text);
  throw new UsageError(`${sourceName(entry, source)} ${shown}: ${reason}`);
}

/** How an error names the place a value came from. */
export function sourceName(entry: AnyOption, source: OptionSource): string {
  return source === 'environment' ? `${entry.env} (the variable of ${entry.flag})` : entry.flag;
}

/** Text in quotes, control characters escaped, cut when long. */
export function quote(text: string): string {
  if (text.length <= SHOWN_VALUE_CHARACTERS) return JSON.stringify(text);
  return `${JSON.stringify(text.slice(0, SHOWN_VALUE_CHARACTERS))}...`;
}
