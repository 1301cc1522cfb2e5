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
  const branches = caseBranches(inner)
  if (branches !== undefined) return weakestCase(branches, isFree, wanted)
  if (/^NOT\b/.test(inner)) return `(not ${weakestForm(inner.slice(3), isFree, !wanted)})`
  for (const operator of ['OR', 'AND']) {
    const parts = splitOutside(inner, ` ${operator} `)
    if (parts.length > 1) {
      return `(${parts.map((part) => weakestForm(part, isFree, wanted)).join(` ${operator} `)})`
    }
  }
  return isFree(inner) ? String(wanted) : `(${inner})`
}

interface CaseBranch {
  /** undefined for ELSE. */
  readonly condition?: string
  readonly result: string
}

/** A CASE is true where a result is whose condition is met, and none before it. */
function weakestCase(
  branches: readonly CaseBranch[],
  isFree: (condition: string) => boolean,
  wanted: boolean,
): string {
  const weakest = branches.map(({ condition, result }, index) => {
    const before = branches.slice(0, index).map((one) => one.condition ?? 'true')
    return [
      ...before.map((one) => `(${weakestForm(one, isFree, false)}) is not true`),
      ...(condition === undefined ? [] : [weakestForm(condition, isFree, true)]),
      weakestForm(result, isFree, wanted),
    ].join(' and ')
  })
  return `(${weakest.map((one) => `(${one})`).join(' or ')})`
}

/** The branches of an expression that is a CASE and nothing else. */
function caseBranches(expression: string): readonly CaseBranch[] | undefined {
  const words = outerWords(expression)
  const [first, ...rest] = words
  const last = rest.at(-1)
  if (first?.word !== 'CASE' || first.at !== 0 || last?.word !== 'END') return undefined
  if (last.at + 'END'.length !== expression.length) return undefined
  const text = (index: number): string => {
    const { word, at } = rest[index] ?? last
    return expression.slice(at + word.length, rest[index + 1]?.at).trim()
  }
  const operand = expression.slice('CASE'.length, rest[0]?.at).trim()
  const branches: CaseBranch[] = []
  for (const [index, { word }] of rest.entries()) {
    if (word === 'ELSE') branches.push({ result: text(index) })
    if (word !== 'WHEN') continue
    const condition = operand === '' ? text(index) : `(${operand}) = (${text(index)})`
    branches.push({ condition, result: text(index + 1) })
  }
  return branches
}

/** The words of the outermost CASE, in no parentheses and no literal. */
function outerWords(expression: string): readonly { readonly word: string; readonly at: number }[] {
  const depths = depthsOf(expression)
  let nesting = 0
  return [...expression.matchAll(/\b(?:CASE|WHEN|THEN|ELSE|END)\b/g)].flatMap(({ 0: word, index: at }) => {
    if (depths[at] !== 0) return []
    if (word === 'CASE') nesting++
    const outermost = nesting === 1
    if (word === 'END') nesting--
    return outermost ? [{ word, at }] : []
  })
}

/** The expression as it is for a login of this name: `CURRENT_USER` and the like outside of literals. */
export function asRole(expression: string, role: string): string {
  return expression.replaceAll(
    /('(?:[^']|'')*'|"(?:[^"]|"")*")|\b(?:CURRENT_USER|CURRENT_ROLE|SESSION_USER|USER)\b/g,
    (_, kept: string | undefined) => kept ?? `${role}::name`,
  )
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
