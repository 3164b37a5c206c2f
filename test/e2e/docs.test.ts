/**
 * Every example of docs/ and the programs of README.md, run as they stand. The examples of a page
 * run one after the other in a network of their own, where discovery.example.com and
 * other.example.com are servers; those that go on (an announce) do so until the page's end. What
 * the page shows as output must be printed. Several pages run at once.
 */
import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { after, before, describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Command, compileWaypost } from '../helpers/command.ts';
import { type Example, examplesIn } from '../helpers/markdown-examples.ts';
import { NetNamespace, noNamespace } from '../helpers/net-namespace.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const TIMEOUT_MS = 120_000;

const HOSTS = { 'discovery.example.com': '198.51.100.1', 'other.example.com': '198.51.100.2' };

const PAGES = readdirSync(join(ROOT, 'docs'))
  .filter((name) => name.endsWith('.md'))
  .map((name) => `docs/${name}`);

let folder = '';
/** They run the command. */
let words: readonly string[] = [];

before(() => {
  folder = mkdtempSync(join(tmpdir(), 'waypost-docs-'));
  words = compileWaypost(folder);
  const script = join(folder, 'waypost');
  writeFileSync(script, `#!/bin/sh\nexec ${words.map((word) => `'${word}'`).join(' ')} "$@"\n`);
  chmodSync(script, 0o755);
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** A page's network, with both servers. */
async function network(t: TestContext): Promise<NetNamespace> {
  const namespace = await NetNamespace.open(t, HOSTS);
  const servers = Object.values(HOSTS).map(
    (address) =>
      new Command(t, [...namespace.wrapper, ...words, 'serve', '--dns', `${address}:5300`]),
  );
  await Promise.all(servers.map((server) => server.line(/^try it/)));
  return namespace;
}

/** Starts an example; it has run when it has ended, or printed what the page shows. */
function start(t: TestContext, namespace: NetNamespace, page: string, example: Example): Command {
  const name = `${page.replace(/\W/g, '-')}-${example.line}`;
  const isModule = !example.code.includes('require(');
  const ending = { js: isModule ? 'mjs' : 'cjs', sh: 'sh' }[example.language];
  const file = join(folder, `${name}.${ending}`);
  writeFileSync(file, example.code);
  const program = example.language === 'js' ? [process.execPath, file] : ['sh', '-e', file];
  const path = `${folder}${delimiter}${process.env.PATH}`;
  return new Command(t, [...namespace.wrapper, ...program], { env: { PATH: path }, isGroup: true });
}

async function run(t: TestContext, page: string, examples: readonly Example[]): Promise<void> {
  const namespace = await network(t);
  const running: Command[] = [];
  for (const example of examples) {
    const command = start(t, namespace, page, example);
    const shown = example.output ?? [];
    const isShown = () => shown.length > 0 && shown.every((line) => command.lines.includes(line));
    while (!command.isOver && !isShown()) await command.change();
    const what = `${page}:${example.line}\n${command.describe()}`;
    for (const line of shown) assert.ok(command.lines.includes(line), `${what}\nlacks: ${line}`);
    if (command.isOver) assert.equal((await command.end()).code, 0, what);
    else running.push(command);
  }
  for (const command of running) await command.stop();
}

// They mostly wait for a network that is slow on purpose.
describe('the examples of the docs', { skip: noNamespace, concurrency: 3 }, () => {
  for (const page of PAGES) {
    const examples = examplesIn(readFileSync(join(ROOT, page), 'utf8'));
    test(`${page}: ${examples.length} examples`, { timeout: TIMEOUT_MS }, (t) =>
      run(t, page, examples),
    );
  }

  test('README.md: the programs', { timeout: TIMEOUT_MS }, (t) => {
    const programs = examplesIn(readFileSync(join(ROOT, 'README.md'), 'utf8')).filter(
      (example) => example.language === 'js',
    );
    assert.ok(programs.length > 0);
    return run(t, 'README.md', programs);
  });
});

test('a page shows each example with the output behind it', () => {
  const page = ['```sh', 'a', 'b', '```', 'and', '```text', 'c', '```', '```js', 'd', '```', ''];
  assert.deepEqual(examplesIn(page.join('\n')), [
    { language: 'sh', code: 'a\nb\n', line: 2, output: ['c'] },
    { language: 'js', code: 'd\n', line: 10, output: null },
  ]);
  assert.throws(() => examplesIn('```py\n```'), /line 2: a block of py that nobody runs/);
  assert.throws(() => examplesIn('```js\n'), /line 2: a block without an end/);
});

test('the pages and their index name each other', () => {
  const index = readFileSync(join(ROOT, 'docs/README.md'), 'utf8');
  for (const page of PAGES) {
    const name = page.replace('docs/', '');
    if (name !== 'README.md') assert.ok(index.includes(`(${name})`), name);
    for (const [, link] of readFileSync(join(ROOT, page), 'utf8').matchAll(
      /\]\((?!https:)(.*?)\)/g,
    )) {
      readFileSync(join(ROOT, 'docs', link));
    }
  }
});
