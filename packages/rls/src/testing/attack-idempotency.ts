import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { isQuintetError } from '@quintet/core'

export interface IdempotencyAttackOptions<Caller, Payload> {
  /** Calls the operation as a client does, and answers what it answers. */
  readonly call: (caller: Caller, key: string, payload: Payload) => Promise<unknown>
  /** Who may make the call. */
  readonly owner: Caller
  /** Others, of the same tenant and of another one, who may not make the call with the owner's payload. */
  readonly others: Readonly<Record<string, Caller>>
  /** Makes a payload; each is different. */
  readonly payload: () => Payload
}

/**
 * Tries whether an idempotency key can be counted twice, taken or read by others: what came out otherwise than promised,
 * nothing when all is well.
 */
export async function attackIdempotency<Caller, Payload>(
  options: IdempotencyAttackOptions<Caller, Payload>,
): Promise<readonly string[]> {
  const { call, owner, others } = options
  const flaws: string[] = []
  const [key, payload] = [randomUUID(), options.payload()]
  const answers = await Promise.all(Array.from({ length: 8 }, () => call(owner, key, payload)))
  answers.push(await call(owner, key, payload))
  if (answers.some((answer) => !isDeepStrictEqual(answer, answers[0])))
    flaws.push('one key of one caller gave several answers')
  if (isDeepStrictEqual(await call(owner, randomUUID(), payload), answers[0]))
    flaws.push('another key gave the same answer')
  const reused = await outcomeOf(call(owner, key, options.payload()))
  if (reused !== 'conflict') flaws.push(`a key with another payload was ${reused}, not refused as a conflict`)
  for (const [name, other] of Object.entries(others)) {
    const replayed = await outcomeOf(call(other, key, payload))
    if (!['forbidden', 'not-found'].includes(replayed))
      flaws.push(`${name} with the owner's key was ${replayed}`)
    const [squatted, wanted] = [randomUUID(), options.payload()]
    await outcomeOf(call(other, squatted, wanted))
    const after = await outcomeOf(call(owner, squatted, wanted))
    if (after !== 'answered') flaws.push(`a key that ${name} took first was ${after} for the owner`)
  }
  return flaws
}

async function outcomeOf(answer: Promise<unknown>): Promise<string> {
  try {
    await answer
    return 'answered'
  } catch (error) {
    return isQuintetError(error) ? error.kind : String(error)
  }
}
