/** The examples of a page: its `js` and `sh` blocks, each with the output that the page shows. */

export interface Example {
  readonly language: 'js' | 'sh';
  readonly code: string;
  /** Where its code begins in the page, from 1. */
  readonly line: number;
  /** The lines of the `text` block behind it; null when there is none. */
  readonly output: readonly string[] | null;
}

interface Block {
  readonly language: string;
  readonly line: number;
  readonly lines: readonly string[];
}

/** The examples of a Markdown text, in its order. Throws on a block of another language. */
export function examplesIn(text: string): Example[] {
  const blocks = blocksIn(text);
  return blocks.flatMap(({ language, line, lines }, index) => {
    if (language === 'text') return [];
    if (language !== 'js' && language !== 'sh') {
      throw new Error(`line ${line}: a block of ${language || 'no language'} that nobody runs`);
    }
    const next = blocks[index + 1];
    const output = next?.language === 'text' ? next.lines : null;
    return [{ language, line, code: `${lines.join('\n')}\n`, output }];
  });
}

function blocksIn(text: string): Block[] {
  const blocks: Block[] = [];
  let open: { language: string; line: number; lines: string[] } | null = null;
  for (const [index, line] of text.split('\n').entries()) {
    const fence = /^```(.*)$/.exec(line);
    if (fence === null) open?.lines.push(line);
    else if (open === null) open = { language: fence[1], line: index + 2, lines: [] };
    else {
      blocks.push(open);
      open = null;
    }
  }
  if (open !== null) throw new Error(`line ${open.line}: a block without an end`);
  return blocks;
}
