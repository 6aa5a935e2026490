/** Tables for people. */

/** Columns as wide as their widest cell, two spaces apart. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const printed = rows.map((row) => row.map(printable))
  const widths = printed[0]?.map((_, column) => Math.max(...printed.map((row) => row[column]?.length ?? 0))) ?? []
  return printed
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Text from outside must not move the cursor of a terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?')
}
