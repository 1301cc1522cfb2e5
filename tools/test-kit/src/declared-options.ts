import { readFileSync } from 'node:fs'

/**
 * The members that an interface of a source file declares, as `Interface.member` (and `Interface.member.inner` for an
 * object type written in place), and those of every other interface of the file that it mentions, so that a test
 * notices when one is added. Interfaces named in `except` are no options.
 */
export function declaredOptions(file: URL, root: string, except: readonly string[] = []): readonly string[] {
  const source = readFileSync(file, 'utf8').replaceAll(/\/\*\*[\s\S]*?\*\//g, '')
  const bodies = new Map(
    [
      ...source.matchAll(/^(?:export )?interface (\w+)(?:<[^{]*>)?(?: extends [^{]+)? \{\n([\s\S]*?)^\}/gm),
    ].map(([, name = '', body = '']) => [name, body]),
  )
  if (!bodies.has(root)) throw new Error(`${file.pathname} declares no interface ${root}.`)
  const seen = new Set(except)
  const found: string[] = []
  const visit = (name: string): void => {
    const body = bodies.get(name)
    if (body === undefined || seen.has(name)) return
    seen.add(name)
    let outer = ''
    for (const [, indent, member = '', rest = ''] of body.matchAll(
      /^( {2}| {4})(?:readonly )?['"]?(\w+)['"]?\??[:(](.*)$/gm,
    )) {
      if (rest.trim() === 'never') continue
      const opens = rest.trim() === '{'
      if (indent?.length === 2) outer = opens ? member : ''
      if (indent?.length === 2 && !opens) found.push(`${name}.${member}`)
      if (indent?.length === 4 && outer !== '') found.push(`${name}.${outer}.${member}`)
    }
    for (const [mentioned] of body.matchAll(/\b[A-Z]\w+/g)) visit(mentioned)
  }
  visit(root)
  return found
}
