import { isDeepStrictEqual } from 'node:util'
import type { Operation } from '../pipeline/operation.ts'
import type { Route } from '../procedures/route.ts'
import type { Service } from '../procedures/service.ts'

/** What a call was answered with, as a client sees it. */
export interface OperationAnswer {
  /** As over HTTP. */
  readonly status: number
  readonly text: string
}

/** How one operation is tried, on something that belongs to the owner. */
export interface OperationCase<Actor> {
  call(actor: Actor): Promise<OperationAnswer>
  /** Actors who may do it too, e.g. a colleague where it is shared. @defaultValue none */
  readonly allowed?: readonly string[]
  /** What no one else's answer may hold: ids, names, amounts. @defaultValue none */
  readonly secrets?: readonly string[]
  /** What no one else's call may change. */
  readonly state?: () => Promise<unknown>
}

export interface AttackOperationsOptions<Actor> {
  /** The definitions of processes, whose procedures, routes, channels and jobs are all tried. */
  readonly processes: readonly {
    readonly services: readonly Service[]
    readonly routes: readonly Route[]
    readonly operations: readonly Operation[]
  }[]
  /** Further operations, e.g. those of channels. */
  readonly operations?: readonly string[]
  readonly owner: Actor
  /** Who tries what the owner may do, by name: another user, another role, a removed user, another tenant, no one. */
  readonly actors: Readonly<Record<string, Actor>>
  /** By `service.procedure`, `METHOD /pattern` or the name of a job; made when it is its turn. */
  readonly cases: Readonly<Record<string, () => OperationCase<Actor> | Promise<OperationCase<Actor>>>>
}

/**
 * Tries every operation of an app as everybody, on something of its owner's: a matrix that grows with the list of
 * operations, since one without a case is a flaw itself. Others must be refused, or be answered without a word of what is
 * not theirs, and must change nothing; the owner, who comes last, must succeed.
 *
 * @returns what came out otherwise; nothing when all is well.
 *
 * @example
 * expect(await attackOperations({ processes: [ledgerProcess], owner, actors: { colleague, stranger }, cases })).toEqual([])
 */
export async function attackOperations<Actor>(
  options: AttackOperationsOptions<Actor>,
): Promise<readonly string[]> {
  const { owner, actors, cases } = options
  const names = operationNames(options)
  const flaws = Object.keys(cases)
    .filter((name) => !names.includes(name))
    .map((name) => `${name} is no operation`)
  for (const name of names) {
    const makeCase = cases[name]
    if (makeCase === undefined) {
      flaws.push(`${name} has no case`)
      continue
    }
    const attack = await makeCase()
    for (const [who, actor] of Object.entries(actors)) {
      const before = await attack.state?.()
      const answer = await attack.call(actor)
      const may = attack.allowed?.includes(who) ?? false
      const flaw = judge(answer, attack, may) ?? (may ? undefined : changed(before, await attack.state?.()))
      if (flaw !== undefined) flaws.push(`${name} by ${who} ${flaw}`)
    }
    const { status, text } = await attack.call(owner)
    if (status >= 400) flaws.push(`${name} by the owner was answered with ${status}: ${text.slice(0, 200)}`)
  }
  return flaws
}

function operationNames<Actor>({
  processes,
  operations = [],
}: AttackOperationsOptions<Actor>): readonly string[] {
  return [
    ...processes.flatMap((each) => [
      ...each.services.flatMap(({ name, procedures }) =>
        Object.keys(procedures).map((key) => `${name}.${key}`),
      ),
      ...each.routes.map(({ method, pattern }) => `${method} ${pattern}`),
      ...each.operations.map(({ name }) => name),
    ]),
    ...operations,
  ]
}

function judge<Actor>(
  { status, text }: OperationAnswer,
  { secrets = [] }: OperationCase<Actor>,
  may: boolean,
): string | undefined {
  if (status >= 500) return `was answered with ${status}`
  if (may) return status >= 400 ? `was answered with ${status}, and may do it` : undefined
  const told = secrets.filter((secret) => text.includes(secret))
  return told.length > 0 ? `was told ${told.join(', ')} with ${status}` : undefined
}

function changed(before: unknown, after: unknown): string | undefined {
  return isDeepStrictEqual(before, after) ? undefined : 'changed what is not theirs'
}
