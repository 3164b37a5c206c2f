/** Who may import whom, and which files nobody imports. */
import { posix } from 'node:path';
import ts from 'typescript';
import type { Finding, SourceFile } from './tidy-rules.ts';

interface FolderRule {
  /** Folders and files of ours that may be imported. */
  readonly own: readonly string[];
  /** npm packages; `runtime` stands for every dependency that users install. */
  readonly packages: readonly string[] | 'runtime' | 'all';
  /** Node's own modules. */
  readonly builtins: readonly string[] | 'all';
}

/** Who may import what, with the packages and builtins that keep each folder what it is. */
const RULES: Readonly<Record<string, FolderRule>> = {
  // Bytes and values only: no I/O, clock, randomness or threads.
  codecs: {
    own: ['codecs'],
    packages: ['dns-packet', 'compact-encoding', 'sodium-native'],
    builtins: ['node:buffer', 'node:module'],
  },
  // May run on a thread of its own; owns no socket and no file.
  workers: {
    own: ['workers', 'codecs'],
    packages: ['dns-packet', 'compact-encoding', 'sodium-native', 'piscina'],
    builtins: ['node:buffer', 'node:module', 'node:os', 'node:url', 'node:worker_threads'],
  },
  server: { own: ['server', 'workers', 'codecs'], packages: 'runtime', builtins: 'all' },
  'index.ts': { own: ['server'], packages: [], builtins: [] },
  bench: { own: ['*'], packages: 'all', builtins: 'all' },
  test: { own: ['*'], packages: 'all', builtins: 'all' },
};

/** Imports of a file that go the wrong way. `runtimePackages` are those that users install. */
export function importFindings(
  path: string,
  tree: ts.SourceFile,
  runtimePackages: readonly string[],
): Finding[] {
  const rule = RULES[topLevelOf(path)];
  const findings: Finding[] = [];
  for (const { specifier, position } of importsOf(tree)) {
    const problem =
      rule === undefined
        ? 'this folder holds no code'
        : importProblem(path, specifier, rule, runtimePackages);
    if (problem === null) continue;
    const line = tree.getLineAndCharacterOfPosition(position).line + 1;
    findings.push({ rule: 'imports', path, line, message: `imports ${specifier}: ${problem}` });
  }
  return findings;
}

function importProblem(
  path: string,
  specifier: string,
  rule: FolderRule,
  runtimePackages: readonly string[],
): string | null {
  if (specifier.startsWith('.')) {
    const target = topLevelOf(resolveImport(path, specifier));
    if (rule.own.includes('*') || rule.own.includes(target)) return null;
    return `${topLevelOf(path)} may import ${rule.own.join(', ')}`;
  }
  if (specifier.startsWith('node:')) {
    if (rule.builtins === 'all' || rule.builtins.includes(specifier)) return null;
    return `${topLevelOf(path)} may use ${rule.builtins.join(', ') || 'no module of Node'}`;
  }
  const name = packageName(specifier);
  if (rule.packages === 'all') return null;
  if (rule.packages === 'runtime') {
    return runtimePackages.includes(name) ? null : 'not among the dependencies of package.json';
  }
  if (rule.packages.includes(name)) return null;
  return `${topLevelOf(path)} may use ${rule.packages.join(', ') || 'no package'}`;
}

/** The files reachable from `entries` over relative imports. */
export function reachableFrom(
  entries: readonly string[],
  files: readonly SourceFile[],
): Set<string> {
  const byPath = new Map(files.map((file) => [file.path, file]));
  const reached = new Set<string>();
  const open = entries.filter((entry) => byPath.has(entry));
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    const file = byPath.get(path);
    if (file === undefined || reached.has(path)) continue;
    reached.add(path);
    const tree = ts.createSourceFile(path, file.text, ts.ScriptTarget.Latest, false);
    for (const { specifier } of importsOf(tree)) {
      if (specifier.startsWith('.')) open.push(resolveImport(path, specifier));
    }
  }
  return reached;
}

interface FoundImport {
  readonly specifier: string;
  readonly position: number;
}

/** Static and dynamic imports, re-exports, require, and `new URL('./x.ts', import.meta.url)`. */
function importsOf(tree: ts.SourceFile): FoundImport[] {
  const found: FoundImport[] = [];
  const visit = (node: ts.Node): void => {
    const specifier = specifierOf(node, tree);
    if (specifier !== null) found.push({ specifier, position: node.getStart(tree) });
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

function specifierOf(node: ts.Node, tree: ts.SourceFile): string | null {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) {
    return textOf(node.moduleSpecifier);
  }
  if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
    return textOf(node.argument.literal);
  }
  if (ts.isCallExpression(node)) {
    const dynamic = node.expression.kind === ts.SyntaxKind.ImportKeyword;
    return dynamic || node.expression.getText(tree) === 'require'
      ? textOf(node.arguments[0])
      : null;
  }
  if (ts.isNewExpression(node) && node.expression.getText(tree) === 'URL') {
    const text = textOf(node.arguments?.[0]);
    return text?.startsWith('.') && /\.[mc]?[jt]s$/.test(text) ? text : null;
  }
  return null;
}

function textOf(node: ts.Node | undefined): string | null {
  return node !== undefined && ts.isStringLiteralLike(node) ? node.text : null;
}

function resolveImport(from: string, specifier: string): string {
  return posix.join(posix.dirname(from), specifier);
}

function topLevelOf(path: string): string {
  return path.split('/')[0] ?? path;
}

function packageName(specifier: string): string {
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}
