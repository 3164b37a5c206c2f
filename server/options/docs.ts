/** The table of a command's options in README.md, and the tail of each line of its help. */
import type { AnyOption, OptionGroup } from './option.ts';

/** What follows an option's help text: its variable and its default. */
export function optionNotes(entry: AnyOption): string {
  const notes: string[] = [];
  if (entry.env !== undefined) notes.push(`env ${entry.env}`);
  if (entry.fallback !== null && !isSwitch(entry)) notes.push(`default ${entry.fallback}`);
  return notes.length === 0 ? '' : ` (${notes.join(', ')})`;
}

/** A flag that is there or not: it has no placeholder, and `true` or `false` as its default. */
export function isSwitch(entry: AnyOption): boolean {
  return entry.placeholder === '';
}

/**
 * `-p, --port <PORT,...>`: the form commander reads and the help shows. Of a switch that is on by
 * default, the form that turns it off.
 */
export function optionFlags(entry: AnyOption): string {
  if (isSwitch(entry)) return entry.fallback === 'true' ? negatedFlag(entry) : entry.flag;
  const short = entry.short === undefined ? '' : `${entry.short}, `;
  return `${short}${entry.flag} <${entry.placeholder}>`;
}

/** `--once` -> `--no-once`. */
export function negatedFlag(entry: AnyOption): string {
  return `--no-${entry.flag.slice(2)}`;
}

/** A Markdown table of a group of options, one row per entry, in their order. */
export function optionsTable(group: OptionGroup): string {
  const rows = Object.values(group).map((entry) => [
    `\`${optionFlags(entry).replace(/<(.*)>/, '$1')}\``,
    entry.env === undefined ? '' : `\`${entry.env}\``,
    entry.fallback === null || isSwitch(entry) ? '' : `\`${entry.fallback}\``,
    entry.help,
  ]);
  const lines = [['flag', 'environment', 'default', 'meaning'], ...rows].map((cells) =>
    cells.map(escapeCell),
  );
  const widths = [0, 1, 2, 3].map((column) =>
    Math.max(...lines.map((cells) => (cells[column] ?? '').length)),
  );
  // Padded as the formatter pads it.
  lines.splice(
    1,
    0,
    widths.map((width) => '-'.repeat(width)),
  );
  return lines
    .map((cells) => `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`)
    .join('\n');
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|');
}
