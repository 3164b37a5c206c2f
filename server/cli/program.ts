/** The commands and their help, made from the option entries. */
import { Command, Option } from 'commander';
import { optionFlags, optionNotes } from '../options/docs.ts';
import { type IgnoredFlag, ignoredListenFlags, listenOptions } from '../options/listen.ts';
import { type FlagValues, type OptionGroup, optionKey } from '../options/option.ts';
import { serveOptions } from '../options/serve.ts';
import { version } from '../version.ts';

export interface ProgramActions {
  readonly serve: (flags: FlagValues) => Promise<void>;
  readonly listen: (flags: FlagValues) => Promise<void>;
}

export interface ProgramOutput {
  readonly out: (line: string) => void;
  readonly error: (line: string) => void;
}

const PROGRAM_EXAMPLES = `
Examples:
  waypost serve                           answer on ports 53 and 5300 of all addresses
  waypost serve --dns 127.0.0.1:0         on a free port of this machine only, and say which
  waypost listen --port 9090 --ttl 30     as with the dns-discovery command

"waypost COMMAND --help" lists the options of a command.`;

const SERVE_EXAMPLES = `
A flag wins over its variable, a variable over the default.

Examples:
  waypost serve --dns :5300
  waypost serve --dns 192.0.2.1:53,[2001:db8::1]:53 --domain discovery.example.com
  waypost serve --ttl infinity --limit 1000000
  WAYPOST_TOKEN_SECRET=$(openssl rand -hex 32) waypost serve

SIGTERM or SIGINT: stops receiving, answers what is in flight and exits with 0 within 2 seconds.`;

const LISTEN_EXAMPLES = `
Examples:
  waypost listen --port 9090 --ttl 30
  waypost listen -p 9090 -d discovery.example.com

Flags, short flags and defaults are those of the dns-discovery command; "waypost serve" has more.
Taken and ignored: ${ignoredListenFlags.map(({ flag }) => flag).join(', ')}.`;

/**
 * The command line. It never exits by itself: help, version and usage errors leave as a
 * CommanderError from `parseAsync`.
 */
export function buildProgram(actions: ProgramActions, output: ProgramOutput): Command {
  const program = new Command('waypost')
    .description('A discovery server: peers announce and look up each other over DNS.')
    .version(version, '-v, --version', 'show the version')
    .helpOption('--help', 'show this help')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => output.out(text.trimEnd()),
      writeErr: (text) => output.error(text.trimEnd()),
      outputError: (text, write) => write(text.replace(/^error: /, 'waypost: ')),
    })
    .showHelpAfterError(
      '"waypost --help" lists the commands, "waypost COMMAND --help" its options.',
    )
    .addHelpText('after', PROGRAM_EXAMPLES);
  addCommand(program, 'serve', serveOptions, actions.serve)
    .summary('run the server')
    .description('Runs the server.')
    .addHelpText('after', SERVE_EXAMPLES);
  addCommand(program, 'listen', listenOptions, actions.listen, ignoredListenFlags)
    .summary('run the server as "dns-discovery listen" does')
    .description('Runs the server with the options of "dns-discovery listen".')
    .addHelpText('after', LISTEN_EXAMPLES);
  return program;
}

function addCommand(
  program: Command,
  name: string,
  group: OptionGroup,
  action: (flags: FlagValues) => Promise<void>,
  ignored: readonly IgnoredFlag[] = [],
): Command {
  const command = program.command(name);
  for (const { flag, short, value } of ignored) {
    const names = short === undefined ? flag : `${short}, ${flag}`;
    command.addOption(new Option(`${names} ${value}`.trim()).hideHelp());
  }
  for (const entry of Object.values(group)) {
    const flag = new Option(optionFlags(entry), `${entry.help}${optionNotes(entry)}`);
    if (entry.repeatable) flag.argParser(joinRepeated);
    command.addOption(flag);
  }
  return command.action(() => action(givenFlags(command, [...Object.values(group), ...ignored])));
}

/** `--domain a --domain b` reads as `--domain a,b`. */
function joinRepeated(value: string, previous: string | undefined): string {
  return previous === undefined ? value : `${previous},${value}`;
}

/** What was given on the command line, as text; a flag without a value as `true` or `false`. */
function givenFlags(command: Command, entries: readonly { readonly flag: string }[]): FlagValues {
  const given = command.opts<Record<string, unknown>>();
  const flags: Record<string, string | undefined> = {};
  for (const key of entries.map(optionKey)) {
    const value = command.getOptionValueSource(key) === 'cli' ? given[key] : undefined;
    flags[key] = value === undefined ? undefined : String(value);
  }
  return flags;
}

/** `-p=9090` -> `-p 9090`: scripts for the original may write short flags so. */
export function splitShortFlags(argv: readonly string[]): string[] {
  return argv.flatMap((word) => {
    const match = /^(-[a-z])=(.*)$/s.exec(word);
    return match === null ? [word] : [match[1] ?? '', match[2] ?? ''];
  });
}
