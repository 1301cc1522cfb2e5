/**
 * The weakest form of a Boolean expression: each condition that `isFree` names is taken as met, whichever
 * way it is asked, because who attacks chooses the row. Works on the text that pg_get_expr prints, which
 * puts every AND, OR and NOT in parentheses.
 */
export function weakestForm(
  expression: string,
  isFree: (condition: string) => boolean,
  wanted = true,
): string {
  const inner = withoutParentheses(expression.trim())
  if (/^NOT\b/.test(inner)) return `(not ${weakestForm(inner.slice(3), isFree, !wanted)})`
  for (const operator of ['OR', 'AND']) {
    const parts = splitOutside(inner, ` ${operator} `)
    if (parts.length > 1) {
      return `(${parts.map((part) => weakestForm(part, isFree, wanted)).join(` ${operator} `)})`
    }
  }
  return isFree(inner) ? String(wanted) : `(${inner})`
}

/** The expression without what stands in literals. */
export function withoutLiterals(expression: string): string {
  return expression.replaceAll(/'(?:[^']|'')*'/g, "''")
}

function withoutParentheses(expression: string): string {
  if (!expression.startsWith('(')) return expression
  const depths = depthsOf(expression)
  const closing = depths.findIndex((depth, at) => at > 0 && depth === 0)
  if (closing !== expression.length - 1 || /^\(\s*SELECT\b/i.test(expression)) return expression
  return withoutParentheses(expression.slice(1, -1).trim())
}

function splitOutside(expression: string, separator: string): readonly string[] {
  const depths = depthsOf(expression)
  const parts: string[] = []
  let from = 0
  for (let at = 0; at < expression.length; at++) {
    if (depths[at] !== 0 || !expression.startsWith(separator, at)) continue
    parts.push(expression.slice(from, at))
    from = at + separator.length
  }
  return [...parts, expression.slice(from)]
}

/** How deep in parentheses each character stands; a literal or quoted name counts as one deeper. */
function depthsOf(expression: string): readonly number[] {
  let depth = 0
  let quote = ''
  return expression.split('').map((character) => {
    if (quote !== '') {
      if (character === quote) quote = ''
      return depth + 1
    }
    if (character === "'" || character === '"') {
      quote = character
      return depth + 1
    }
    if (character === '(') depth++
    else if (character === ')') depth--
    return depth
  })
}
