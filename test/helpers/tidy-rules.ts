/**
 * The house rules as functions from one file to findings; test/tidy.test.ts runs them over the tree
 * and over a table of bad snippets, so that a rule that stopped seeing anything is noticed.
 */
import ts from 'typescript';
import { importFindings } from './tidy-imports.ts';

export interface SourceFile {
  /** Relative to the root, with slashes. */
  readonly path: string;
  readonly text: string;
}

export interface Finding {
  readonly rule: string;
  readonly path: string;
  readonly line: number;
  readonly message: string;
}

const MAX_FILE_LINES = 500;
const MAX_FUNCTION_LINES = 70;
const MAX_COLUMNS = 100;

/** The modules that own time and secret randomness; see the banned names below. */
const CLOCK = 'server/clock.ts';
const RNG = 'server/rng.ts';

const TIMERS = new Set(['setTimeout', 'setInterval', 'setImmediate']);
const RANDOM_FUNCTIONS = new Set(['randomBytes', 'randomInt', 'randomUUID', 'getRandomValues']);
const BANNED_MEMBERS = new Map([
  ['Date.now', CLOCK],
  ['performance.now', CLOCK],
  ['process.hrtime', CLOCK],
  ['Math.random', RNG],
]);

// Spelled in pieces, or this file would find itself.
const LEFT_OVER_WORDS = new RegExp(`\\b(${['TO' + 'DO', 'FIX' + 'ME', 'X' + 'XX'].join('|')})\\b`);
const MACHINE_FOLDERS = ['home', 'root', 'Users', 'work', 'workspace'].join('|');
const MACHINE_PATH = new RegExp(`(^|[^\\w.])(/(${MACHINE_FOLDERS})/|[A-Z]:\\\\Users\\\\)`);

type Report = (rule: string, position: number, message: string) => void;

/** Every finding in a TypeScript file; `runtimePackages` are the dependencies users install. */
export function checkTypeScript(
  file: SourceFile,
  runtimePackages: readonly string[] = [],
): Finding[] {
  const findings = checkText(file);
  const tree = ts.createSourceFile(file.path, file.text, ts.ScriptTarget.Latest, true);
  const report: Report = (rule, position, message) => {
    const line = tree.getLineAndCharacterOfPosition(position).line + 1;
    findings.push({ rule, path: file.path, line, message });
  };
  const inTests = /^(test|bench)\//.test(file.path);
  const visit = (node: ts.Node): void => {
    checkFunctionLength(node, tree, inTests, report);
    checkCatch(node, report);
    checkTestOnly(node, report);
    if (node.kind === ts.SyntaxKind.AnyKeyword) {
      report('no-any', node.getStart(), 'the type any: say what it is, or unknown');
    }
    if (!inTests) checkBannedNames(node, file.path, report);
    ts.forEachChild(node, visit);
  };
  visit(tree);
  findings.push(...importFindings(file.path, tree, runtimePackages));
  return findings;
}

/** What holds for every text: TypeScript, C, scripts and, but for the columns, prose. */
export function checkText(file: SourceFile): Finding[] {
  const findings: Finding[] = [];
  const lines = file.text.split('\n');
  const code = /\.(ts|mjs|cjs|js|c|h|sh)$/.test(file.path) || file.path.startsWith('.ci/');
  lines.forEach((line, index) => {
    const add = (rule: string, message: string) =>
      findings.push({ rule, path: file.path, line: index + 1, message });
    // Counted in characters: a picture may hold wide ones.
    if (code && [...line].length > MAX_COLUMNS) add('columns', `over ${MAX_COLUMNS} columns`);
    if (LEFT_OVER_WORDS.test(line)) add('left-over', 'a note to self: do it, or file it');
    if (MACHINE_PATH.test(line)) add('machine-path', "a path of somebody's machine");
  });
  // The last line ends with a newline and is no line of its own.
  const count = lines.at(-1) === '' ? lines.length - 1 : lines.length;
  if (code && count > MAX_FILE_LINES) {
    const message = `${count} lines, at most ${MAX_FILE_LINES}`;
    findings.push({ rule: 'file-lines', path: file.path, line: count, message });
  }
  return findings;
}

function checkFunctionLength(
  node: ts.Node,
  tree: ts.SourceFile,
  inTests: boolean,
  report: Report,
): void {
  if (!isFunctionWithBody(node) || (inTests && isTestCallback(node))) return;
  const first = tree.getLineAndCharacterOfPosition(node.getStart()).line;
  const last = tree.getLineAndCharacterOfPosition(node.getEnd()).line;
  const count = last - first + 1;
  if (count > MAX_FUNCTION_LINES) {
    report('function-lines', node.getStart(), `${count} lines, at most ${MAX_FUNCTION_LINES}`);
  }
}

function isFunctionWithBody(node: ts.Node): node is ts.FunctionLikeDeclaration {
  return ts.isFunctionLike(node) && 'body' in node && node.body !== undefined;
}

/** The callback of `describe(...)`, `test(...)`, `it(...)` and their variants. */
function isTestCallback(node: ts.Node): boolean {
  if (!ts.isCallExpression(node.parent)) return false;
  const callee = node.parent.expression.getText();
  return /^(\w+\.)?(describe|suite|test|it)(\.\w+)?$/.test(callee);
}

function checkCatch(node: ts.Node, report: Report): void {
  if (ts.isCatchClause(node) && node.block.statements.length === 0) {
    report('empty-catch', node.getStart(), 'an empty catch: handle it, or say it in code');
  }
  if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression)) return;
  const handler = node.arguments[0];
  if (node.expression.name.text !== 'catch' || handler === undefined) return;
  if (isFunctionWithBody(handler) && handler.body !== undefined && isEmptyBlock(handler.body)) {
    report('empty-catch', node.expression.name.getStart(), 'an empty rejection handler');
  }
}

function isEmptyBlock(body: ts.Node): boolean {
  return ts.isBlock(body) && body.statements.length === 0;
}

function checkTestOnly(node: ts.Node, report: Report): void {
  const called = ts.isCallExpression(node) && ts.isPropertyAccessExpression(node.expression);
  if (called && node.expression.name.text === 'only') {
    report('test-only', node.getStart(), 'a test that hides all others');
  }
  if (ts.isPropertyAssignment(node) && node.getText() === 'only: true') {
    report('test-only', node.getStart(), 'a test that hides all others');
  }
}

function checkBannedNames(node: ts.Node, path: string, report: Report): void {
  if (ts.isPropertyAccessExpression(node)) {
    const owner = BANNED_MEMBERS.get(node.getText());
    if (owner !== undefined && path !== owner) {
      report('clock-and-rng', node.getStart(), `${node.getText()} belongs into ${owner}`);
    }
  }
  if (ts.isNewExpression(node) && node.expression.getText() === 'Date' && path !== CLOCK) {
    if ((node.arguments?.length ?? 0) === 0) {
      report('clock-and-rng', node.getStart(), `the current time belongs into ${CLOCK}`);
    }
  }
  if (!ts.isIdentifier(node)) return;
  if (TIMERS.has(node.text) && path !== CLOCK) {
    report('clock-and-rng', node.getStart(), `${node.text} belongs into ${CLOCK}`);
  }
  const random = RANDOM_FUNCTIONS.has(node.text) || node.text.startsWith('randombytes_');
  if (random && path !== RNG) {
    report('clock-and-rng', node.getStart(), `${node.text} belongs into ${RNG}`);
  }
  if (path.startsWith('server/cli/')) return;
  const terminal = node.text === 'stdout' || node.text === 'stderr';
  if (node.text === 'console' || (terminal && node.parent.getText() === `process.${node.text}`)) {
    report('no-console', node.getStart(), `${node.text} outside server/cli`);
  }
}
