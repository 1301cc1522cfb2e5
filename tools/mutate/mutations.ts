import { parseSync, Visitor } from 'oxc-parser'

/** One small change to a source that a test should notice. */
export interface Mutation {
  /** Where it stands in the text, and what takes that place. */
  readonly start: number
  readonly end: number
  readonly replacement: string
}

const swapped: ReadonlyMap<string, string> = new Map([
  ['===', '!=='],
  ['!==', '==='],
  ['<', '<='],
  ['<=', '<'],
  ['>', '>='],
  ['>=', '>'],
  ['+', '-'],
  ['-', '+'],
  ['&&', '||'],
  ['||', '&&'],
])

/**
 * Every mutation of a module: operators swapped, conditions negated, booleans flipped, fallbacks and calls whose result
 * nothing uses taken away.
 */
export function mutationsOf(file: string, text: string): readonly Mutation[] {
  const mutations: Mutation[] = []
  const replace = (node: { start: number; end: number }, replacement: string): void => {
    mutations.push({ start: node.start, end: node.end, replacement })
  }
  const swapOperator = (left: { end: number }, right: { start: number }, operator: string): void => {
    const replacement = swapped.get(operator)
    const start = text.indexOf(operator, left.end)
    if (replacement === undefined || start < 0 || start >= right.start) return
    replace({ start, end: start + operator.length }, replacement)
  }
  new Visitor({
    BinaryExpression: ({ left, right, operator }) => swapOperator(left, right, operator),
    LogicalExpression(node) {
      if (node.operator === '??') replace(node, source(node.left))
      else swapOperator(node.left, node.right, node.operator)
    },
    IfStatement: ({ test }) => replace(test, `!(${source(test)})`),
    ConditionalExpression: ({ test }) => replace(test, `!(${source(test)})`),
    Literal(node) {
      if (typeof node.value === 'boolean') replace(node, String(!node.value))
    },
    ExpressionStatement(node) {
      const called = node.expression.type === 'AwaitExpression' ? node.expression.argument : node.expression
      if (called.type === 'CallExpression' && called.callee.type !== 'Super') replace(node, ';')
    },
  }).visit(parseSync(file, text).program)
  return mutations

  function source(node: { start: number; end: number }): string {
    return text.slice(node.start, node.end)
  }
}
