import { stripVTControlCharacters } from 'node:util'

/** Rows as columns that are as wide as their widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = columnWidths(rows)
  return rows
    .map((row) =>
      row
        .map((cell, index) => cell + ' '.repeat((widths[index] ?? 0) - width(cell)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** How wide the widest line of a table is. */
export function tableWidth(rows: readonly (readonly string[])[]): number {
  return table(rows)
    .split('\n')
    .reduce((widest, line) => Math.max(widest, width(line)), 0)
}

function columnWidths(rows: readonly (readonly string[])[]): readonly number[] {
  const widths: number[] = []
  for (const row of rows)
    row.forEach((cell, index) => (widths[index] = Math.max(widths[index] ?? 0, width(cell))))
  return widths
}

function width(cell: string): number {
  return stripVTControlCharacters(cell).length
}
