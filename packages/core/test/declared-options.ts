import { readFileSync } from 'node:fs'

/**
 * The members that the interfaces of a source file declare, as `Interface.member` (and `Interface.member.inner` for
 * an object type written in place), so that a test notices when one is added.
 */
export function declaredOptions(file: string, interfaces: readonly string[]): readonly string[] {
  const source = readFileSync(new URL(`../src/${file}`, import.meta.url), 'utf8')
  return interfaces.flatMap((name) => {
    const body = new RegExp(
      `^export interface ${name}(?:<[^{]*>)?(?: extends [^{]+)? \\{\\n([\\s\\S]*?)^\\}`,
      'm',
    ).exec(source)?.[1]
    if (body === undefined) throw new Error(`${file} declares no interface ${name}.`)
    let outer = ''
    return [...body.matchAll(/^( {2}| {4})readonly (\w+)\??:(.*)$/gm)].flatMap(
      ([, indent, member = '', rest = '']) => {
        if (indent?.length === 4) return [`${name}.${outer}.${member}`]
        outer = member
        return rest.trim() === '{' ? [] : [`${name}.${member}`]
      },
    )
  })
}
