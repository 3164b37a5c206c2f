/**
 * The command `waypost`: from source, or, with TEST_CLI=dist, what `npm run build` made of it,
 * which starts in a fifth of the time.
 */
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const fileOf = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

export const WAYPOST: readonly string[] =
  process.env.TEST_CLI === 'dist'
    ? [process.execPath, fileOf('dist/server/cli/main.js')]
    : [process.execPath, '--import', 'tsx', fileOf('server/cli/main.ts')];
