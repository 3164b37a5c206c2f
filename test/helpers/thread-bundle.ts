/**
 * A thread's code as one file of JavaScript. A thread that loads the sources takes 0.4 s of CPU for
 * the loader that compiles them, and the tests start thousands; this takes 0.2 s once per process.
 * Programs (test/e2e) start their threads from source.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, type Plugin } from 'esbuild';

const bundles = new Map<string, Promise<URL>>();
let folder: string | null = null;

/** Modules look for the package's files from where their sources are. */
const ownPlaces: Plugin = {
  name: 'own-places',
  setup({ onLoad }) {
    onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const place = JSON.stringify(pathToFileURL(path).href);
      return { contents: source.replaceAll('import.meta.url', () => place), loader: 'ts' };
    });
  },
};

/** The bundle of the module `entry` and all it imports; made when first asked for. */
export function threadBundle(entry: URL): Promise<URL> {
  const known = bundles.get(entry.href);
  if (known !== undefined) return known;
  const bundle = make(entry, bundles.size);
  bundles.set(entry.href, bundle);
  return bundle;
}

async function make(entry: URL, number: number): Promise<URL> {
  folder ??= openFolder();
  const outfile = join(folder, `thread-${number}.mjs`);
  await build({
    entryPoints: [fileURLToPath(entry)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    plugins: [ownPlaces],
    // What packages of the old kind require.
    banner: {
      js: `import { createRequire as requireFrom } from 'node:module';
const require = requireFrom(${JSON.stringify(entry.href)});`,
    },
  });
  return pathToFileURL(outfile);
}

function openFolder(): string {
  const opened = mkdtempSync(join(tmpdir(), 'waypost-threads-'));
  process.on('exit', () => rmSync(opened, { recursive: true, force: true }));
  return opened;
}
