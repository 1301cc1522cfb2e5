import { endOfComment, firstWords } from '../sql/comments.ts'

const token =
  /--[^\n\r]*|\/\*|'(?:[^']|'')*'|\b[eE]'(?:[^'\\]|''|\\[\s\S])*'|"(?:[^"]|"")*"|\$([A-Za-z_][A-Za-z0-9_]*)?\$|;|\bbegin\s+atomic\b|\bcase\b|\bend\b/gi

/** Splits SQL text into its statements, with comments in their place. */
export function splitSql(text: string): readonly string[] {
  const statements: string[] = []
  let start = 0
  let depth = 0
  token.lastIndex = 0
  for (let found = token.exec(text); found; found = token.exec(text)) {
    const [word, tag] = found
    if (word === '/*') token.lastIndex = endOfComment(text, found.index)
    else if (word.startsWith('$')) token.lastIndex = endOfDollarQuote(text, found.index, tag ?? '')
    else if (/^(?:begin\s|case$)/i.test(word)) depth++
    else if (/^end$/i.test(word)) depth = Math.max(0, depth - 1)
    else if (word === ';' && depth === 0) {
      statements.push(text.slice(start, found.index))
      start = found.index + 1
    }
  }
  statements.push(text.slice(start))
  return statements.filter((statement) => firstWords(statement) !== '')
}

function endOfDollarQuote(text: string, from: number, tag: string): number {
  const quote = `$${tag}$`
  const end = text.indexOf(quote, from + quote.length)
  return end < 0 ? text.length : end + quote.length
}
