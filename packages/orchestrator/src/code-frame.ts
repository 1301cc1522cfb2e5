import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Where a module cannot be parsed or what it imports cannot be found: file, line and the text there. */
export function codeFrame(error: Error): string | undefined {
  return syntaxFrame(error) ?? importFrame(error)
}

/** Node puts the place before the name of the error in its stack. */
function syntaxFrame({ name, stack = '' }: Error): string | undefined {
  if (name !== 'SyntaxError') return undefined
  const found = /^((?:file:\/\/)?\/[^\n]*:\d+)\n((?:[^\n]*\n){0,5}?[ \t]*\^+)/.exec(stack)
  return found ? `${toPath(found[1] ?? '')}\n${found[2]}` : undefined
}

/** Node names the two modules, and not the line. */
function importFrame({ message }: Error): string | undefined {
  const [, wanted = '', from = ''] =
    /^Cannot find (?:module|package) '([^'\n]+)' imported from ([^\n]+)$/.exec(message) ?? []
  if (wanted === '') return undefined
  try {
    const importer = toPath(from)
    const name = wanted.startsWith('/') || wanted.startsWith('file:') ? basename(wanted) : wanted
    const lines = readFileSync(importer, 'utf8').split('\n')
    const index = lines.findIndex((line) => /\b(?:from|import)\b/.test(line) && line.includes(name))
    const line = lines[index]
    if (line === undefined) return undefined
    const marker = ' '.repeat(line.indexOf(name)) + '^'.repeat(name.length)
    return `${importer}:${index + 1}\n${line}\n${marker}`
  } catch {
    return undefined
  }
}

function toPath(place: string): string {
  return place.startsWith('file:') ? fileURLToPath(place) : place
}
