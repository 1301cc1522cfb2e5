import { readFileSync } from 'node:fs'
import { declaredOptions as declaredIn } from '@quintet/test-kit'

/** The options that an interface of a source file of core declares, with those of the interfaces that it mentions. */
export function declaredOptions(
  file: string,
  root: string,
  except: readonly string[] = [],
): readonly string[] {
  return declaredIn(new URL(`../src/${file}`, import.meta.url), root, except)
}

/** The options whose effect the supervisor's own table shows: how each gets into the plan, and the test of what it does there. */
export function supervisedOptions(): readonly string[] {
  const table = new URL('../../orchestrator/test/plan/every-option.test.ts', import.meta.url)
  return [...readFileSync(table, 'utf8').matchAll(/^ {2}'([A-Z]\w+\.[\w.]+)': \{/gm)].map(
    ([, name = '']) => name,
  )
}
