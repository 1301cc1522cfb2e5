import type { Mutation } from './mutations.ts'

/** A mutation of a file, by its path. */
export interface Mutant extends Mutation {
  readonly file: string
}

const variable = 'QUINTET_MUTANT'

/** The environment of a program that is to load the mutant in place of its file. */
export function mutantEnvironment(mutant: Mutant): Readonly<Record<string, string>> {
  return { [variable]: JSON.stringify(mutant) }
}

/** The text of a file as this process is to load it. */
export function mutated(file: string, text: string): string {
  const told = process.env[variable]
  if (told === undefined) return text
  const mutant = JSON.parse(told) as Mutant
  if (mutant.file !== file) return text
  return text.slice(0, mutant.start) + mutant.replacement + text.slice(mutant.end)
}
