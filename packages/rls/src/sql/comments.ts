/** The text from its first word on: without the blanks, comments and empty statements before it. */
export function firstWords(text: string): string {
  let at = 0
  for (;;) {
    blank.lastIndex = at
    blank.exec(text)
    at = blank.lastIndex
    if (text.startsWith('--', at)) at = endOfLine(text, at)
    else if (text.startsWith('/*', at)) at = endOfComment(text, at)
    else return text.slice(at)
  }
}

const blank = /[\s;]*/y

/** The text with a blank in place of each comment. What looks like one within quotes is one too, unless `quotes` are kept. */
export function withoutComments(text: string, { quotes }: { readonly quotes: 'kept' | 'ignored' }): string {
  if (!text.includes('--') && !text.includes('/*')) return text
  const start = quotes === 'kept' ? quotedOrComment : comment
  let result = ''
  let at = 0
  start.lastIndex = 0
  for (let found = start.exec(text); found; found = start.exec(text)) {
    const [word] = found
    if (word !== '--' && word !== '/*') continue
    result += `${text.slice(at, found.index)} `
    at = word === '--' ? endOfLine(text, found.index) : endOfComment(text, found.index)
    start.lastIndex = at
  }
  return result + text.slice(at)
}

const comment = /--|\/\*/g
const quotedOrComment = /'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$[\s\S]*?\$\1\$|--|\/\*/g

/** Where a comment that starts there ends; those of PostgreSQL nest. */
export function endOfComment(text: string, from: number): number {
  const mark = /\/\*|\*\//g
  mark.lastIndex = from
  let depth = 0
  for (let found = mark.exec(text); found; found = mark.exec(text)) {
    depth += found[0] === '/*' ? 1 : -1
    if (depth === 0) return mark.lastIndex
  }
  return text.length
}

/** A carriage return ends a line too. */
function endOfLine(text: string, from: number): number {
  const end = /[\n\r]/g
  end.lastIndex = from
  return end.exec(text) === null ? text.length : end.lastIndex
}
