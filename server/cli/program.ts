/** The commands and their help, made from the option entries. */
import { Command, Option } from 'commander';
import {
  announceOptions,
  clientOptions,
  ignoredAnnounceFlags,
  ignoredLookupFlags,
  ignoredUnannounceFlags,
  ignoredWhoamiFlags,
  lookupOptions,
  unannounceOptions,
  whoamiOptions,
} from '../options/client.ts';
import { dhtBootstrapOptions, dhtNodeOptions } from '../options/dht.ts';
import { isSwitch, negatedFlag, optionFlags, optionNotes } from '../options/docs.ts';
import { type IgnoredFlag, ignoredListenFlags, listenOptions } from '../options/listen.ts';
import {
  type AnyOption,
  type FlagValues,
  type OptionGroup,
  optionKey,
  UsageError,
} from '../options/option.ts';
import { serveOptions } from '../options/serve.ts';
import { version } from '../version.ts';

/** What a command does with its flags, and with the NAME of those that take one. */
type Action = (flags: FlagValues, name: string | undefined) => Promise<void>;

export type ProgramActions = Readonly<
  Record<
    | 'serve'
    | 'listen'
    | 'announce'
    | 'unannounce'
    | 'lookup'
    | 'whoami'
    | 'dhtBootstrap'
    | 'dhtNode',
    Action
  >
>;

export interface ProgramOutput {
  readonly out: (line: string) => void;
  readonly error: (line: string) => void;
}

const PROGRAM_EXAMPLES = `
Examples:
  waypost announce my-app --port 8080     until stopped, on the local network
  waypost lookup my-app                   print who announces it
  waypost lookup my-app --server discovery.example.com
  waypost serve                           DNS on ports 53 and 5300, the DHT on 49737
  waypost serve --dns 127.0.0.1:0 --dht off    on a free port of this machine only
  waypost listen --port 9090 --ttl 30     as with the dns-discovery command
  waypost dht bootstrap --host 192.0.2.1  the first node of a DHT

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

const DHT_BOOTSTRAP_EXAMPLES = `
Examples:
  waypost dht bootstrap --host 192.0.2.1
  waypost dht bootstrap --host 127.0.0.1 --port 10001     for tests on this machine

"waypost serve" is a node of the DHT as well, beside the DNS server.`;

const DHT_NODE_EXAMPLES = `
Examples:
  waypost dht node                                        in the public hyperdht network
  waypost dht node --bootstrap 192.0.2.1:49737 --nodes 10
  waypost dht node --bootstrap 192.0.2.1:49737 --port 49737

A node becomes persistent, that is others begin to ask it, when it has been reachable for some 20
minutes; in a private network at once.`;

const ANNOUNCE_EXAMPLES = `
Examples:
  waypost announce my-app --port 8080
  waypost announce my-app --port 8080 --server discovery.example.com --no-multicast
  waypost announce my-app --port 8080 --server discovery.example.com:5300,53 --public-port 443
  WAYPOST_SERVER=discovery.example.com waypost announce my-app --port 8080 --once

Goes on until SIGINT or SIGTERM, takes the announcement back and exits with 0.
With --once: 0 when it is announced, 3 when no server answered, or nothing could be sent.`;

const UNANNOUNCE_EXAMPLES = `
Examples:
  waypost unannounce my-app --port 8080 --server discovery.example.com

For what "announce --once" left, from the same machine; give the port that servers were told. An
announcement over multicast ends with the command that made it.
Exit codes: 0 done, 3 no server answered.`;

const LOOKUP_EXAMPLES = `
Examples:
  waypost lookup my-app
  waypost lookup my-app --once --json
  waypost lookup my-app --server discovery.example.com --server [2001:db8::1]:5300 --no-multicast

Prints each peer once, until SIGINT or SIGTERM.
With --once: 0 when a peer was found, 1 when none was, 3 when nobody could be asked.`;

const WHOAMI_EXAMPLES = `
Examples:
  waypost whoami --server discovery.example.com --server other.example.com

The port is shown when two servers see the same one.
Exit codes: 0 shown, 3 no server answered, or two see different addresses.`;

/**
 * The command line. It never exits by itself: help, version and usage errors leave as a
 * CommanderError from `parseAsync`.
 */
export function buildProgram(actions: ProgramActions, output: ProgramOutput): Command {
  const program = new Command('waypost')
    .description('Discovery over DNS: programs announce where they are and look up each other.')
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
  addServerCommands(program, actions);
  addClientCommands(program, actions);
  addDhtCommands(program, actions);
  return program;
}

function addServerCommands(program: Command, actions: ProgramActions): void {
  addCommand(program, 'serve', serveOptions, actions.serve)
    .summary('run the server')
    .description('Runs the server.')
    .addHelpText('after', SERVE_EXAMPLES);
  addCommand(program, 'listen', listenOptions, actions.listen, ignoredListenFlags)
    .summary('run the server as "dns-discovery listen" does')
    .description('Runs the server with the options of "dns-discovery listen".')
    .addHelpText('after', LISTEN_EXAMPLES);
}

function addDhtCommands(program: Command, actions: ProgramActions): void {
  const dht = program
    .command('dht')
    .summary('run nodes of the DHT')
    .description('Runs nodes of the DHT that npm hyperdht and dht-rpc 6 form.');
  addCommand(dht, 'bootstrap', dhtBootstrapOptions, actions.dhtBootstrap)
    .summary('run a bootstrap node')
    .description('Runs a node that others start from.')
    .addHelpText('after', DHT_BOOTSTRAP_EXAMPLES);
  addCommand(dht, 'node', dhtNodeOptions, actions.dhtNode)
    .summary('run persistent nodes')
    .description('Runs nodes that join a DHT and stay.')
    .addHelpText('after', DHT_NODE_EXAMPLES);
}

function addClientCommands(program: Command, actions: ProgramActions): void {
  addCommand(program, 'announce NAME', announceOptions, actions.announce, ignoredAnnounceFlags)
    .summary('announce that NAME is at a port of this machine')
    .description('Announces that NAME is at a port of this machine, until stopped.')
    .addHelpText('after', ANNOUNCE_EXAMPLES);
  addCommand(
    program,
    'unannounce NAME',
    unannounceOptions,
    actions.unannounce,
    ignoredUnannounceFlags,
  )
    .summary('take an announcement back')
    .description('Takes back what servers were told of NAME.')
    .addHelpText('after', UNANNOUNCE_EXAMPLES);
  addCommand(program, 'lookup NAME', lookupOptions, actions.lookup, ignoredLookupFlags)
    .summary('print who announces NAME')
    .description('Prints host and port of those who announce NAME, as they are found.')
    .addHelpText('after', LOOKUP_EXAMPLES);
  addCommand(program, 'whoami', whoamiOptions, actions.whoami, ignoredWhoamiFlags)
    .summary('print the address that servers see this machine at')
    .description('Prints the address, and port, that servers see this machine at.')
    .addHelpText('after', WHOAMI_EXAMPLES);
}

/** `usage`: the command, and NAME when it takes one; that one is missing is the action's to say. */
function addCommand(
  program: Command,
  usage: string,
  group: OptionGroup,
  action: Action,
  ignored: readonly IgnoredFlag[] = [],
): Command {
  const [name = usage, argument] = usage.split(' ');
  const command = program.command(name);
  if (argument !== undefined) {
    command.argument(`[${argument}]`).usage(`${argument} [options]`);
  }
  for (const { flag, short, value } of ignored) {
    const names = short === undefined ? flag : `${short}, ${flag}`;
    command.addOption(new Option(`${names} ${value}`.trim()).hideHelp());
  }
  for (const entry of Object.values(group)) {
    if (isSwitch(entry)) addSwitch(command, entry);
    else addValue(command, entry);
  }
  const entries = [...Object.values(group), ...ignored];
  return command.action(async () => {
    const [given] = command.args;
    if (argument !== undefined && given === undefined) refuseSwallowedName(command);
    await action(givenFlags(command, entries), given);
  });
}

/** `lookup --once true` has no NAME, as with the original. Throws UsageError that says so. */
function refuseSwallowedName(command: Command): void {
  const words = command.parent?.args ?? [];
  for (const [at, word] of words.entries()) {
    const next = words[at + 1];
    if (!SWITCHES.has(word) || (next !== 'true' && next !== 'false')) continue;
    throw new UsageError(
      `${command.name()} needs the NAME of an app, and "${next}" is the value of ${word} there;` +
        ` for an app of that name: waypost ${command.name()} ${next} ${word}`,
    );
  }
}

function addValue(command: Command, entry: AnyOption): void {
  const flag = new Option(optionFlags(entry), `${entry.help}${optionNotes(entry)}`);
  if (entry.repeatable) flag.argParser(joinRepeated);
  command.addOption(flag);
}

/** `--once`, `--once=true`, `--once=false` and `--no-once`; the help shows one of them. */
function addSwitch(command: Command, entry: AnyOption): void {
  const help = `${entry.help}${optionNotes(entry)}`;
  const on = new Option(`${entry.flag} [BOOLEAN]`, help);
  const off = new Option(negatedFlag(entry), help);
  on.flags = entry.flag;
  command.addOption(entry.fallback === 'true' ? on.hideHelp() : on);
  command.addOption(entry.fallback === 'true' ? off : off.hideHelp());
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

/** The command line as the parser shall see it. */
export function plainWords(argv: readonly string[]): string[] {
  return joinSwitches(splitShortFlags(argv));
}

/** `-p=9090` -> `-p 9090`, up to `--`: scripts for the original may write short flags so. */
export function splitShortFlags(argv: readonly string[]): string[] {
  const end = argv.indexOf('--');
  return argv.flatMap((word, at) => {
    if (end >= 0 && at > end) return [word];
    const match = /^(-[a-z])=(.*)$/s.exec(word);
    return match === null ? [word] : [match[1] ?? '', match[2] ?? ''];
  });
}

const SWITCHES = new Set<string>(
  Object.values(clientOptions)
    .filter(isSwitch)
    .map((entry) => entry.flag),
);

/** `--loopback my-app` -> `--loopback=true my-app`: a switch takes no such word for its value. */
function joinSwitches(argv: readonly string[]): string[] {
  const end = argv.indexOf('--');
  return argv.map((word, at) => {
    const next = argv[at + 1] ?? '-';
    const isAlone = next.startsWith('-') || next === 'true' || next === 'false';
    return isAlone || !SWITCHES.has(word) || (end >= 0 && at > end) ? word : `${word}=true`;
  });
}
