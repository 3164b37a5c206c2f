#!/usr/bin/env node
import process from 'node:process';
import { CommanderError } from 'commander';
import { systemClock } from '../clock.ts';
/** The entry of the `waypost` command: runs it, and turns whatever goes wrong into an exit code. */
import { messageOf } from '../message-of.ts';
import { UsageError } from '../options/option.ts';
import { announce } from './announce.ts';
import { dhtBootstrap, dhtNode } from './dht.ts';
import { listen } from './listen.ts';
import { lookup } from './lookup.ts';
import { flush, print, printError, surviveClosedPipes } from './print.ts';
import { buildProgram, plainWords } from './program.ts';
import { serve } from './serve.ts';
import { unannounce } from './unannounce.ts';
import { whoami } from './whoami.ts';

/** A wrong command line, as sh and most tools have it. */
const EXIT_USAGE = 2;
/** Everything else that went wrong. */
const EXIT_FAILURE = 1;

surviveClosedPipes();
process.on('uncaughtException', (error) => {
  printError(`waypost: ${describeUnexpected(error)}`);
  process.exit(EXIT_FAILURE);
});

const program = buildProgram(
  { serve, listen, announce, unannounce, lookup, whoami, dhtBootstrap, dhtNode },
  { out: print, error: printError },
);
try {
  await program.parseAsync(plainWords(process.argv.slice(2)), { from: 'user' });
} catch (error) {
  const code = exitCodeFor(error);
  await flush(systemClock);
  process.exit(code);
}

/** Prints what nobody has printed yet. */
function exitCodeFor(error: unknown): number {
  // Commander has printed its message; asked-for help and version carry 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  if (error instanceof UsageError) {
    printError(`waypost: ${error.message}`);
    return EXIT_USAGE;
  }
  printError(`waypost: ${messageOf(error)}`);
  return EXIT_FAILURE;
}

/** One line: what, and the first place it came from. */
function describeUnexpected(error: unknown): string {
  if (!(error instanceof Error)) return `unexpected error: ${String(error)}`;
  const place = error.stack?.split('\n').find((line) => line.startsWith('    at '));
  const oneLine = error.message.replaceAll('\n', ' ');
  const where = place === undefined ? '' : ` (${place.trim()})`;
  return `unexpected error: ${error.name}: ${oneLine}${where}`;
}
