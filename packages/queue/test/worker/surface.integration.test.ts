import { anonymous, type ErrorKind, isQuintetError, type Principal } from '@quintet/core'
import {
  createAttackHost,
  type ForgeableSurface,
  forgedContextAttacks,
  surfaceAttacks,
  type SurfaceOutcome,
} from '@quintet/core/testing'
import { until } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { z } from 'zod'
import { defineJob, worker, type JobDefinition } from '../../src/index.ts'
import { serializePayload } from '../../src/jobs/payload.ts'
import { createRig, type Rig } from '../jobs/rig.ts'

const kinds: Readonly<Record<string, ErrorKind>> = {
  ERR_CORE_UNAUTHENTICATED: 'unauthenticated',
  ERR_CORE_FORBIDDEN: 'forbidden',
  ERR_CORE_DEADLINE_EXCEEDED: 'timeout',
  ERR_CORE_INTERNAL: 'internal',
  ERR_QUEUE_BAD_PAYLOAD: 'invalid-input',
}

const host = createAttackHost()
const jobs = new Map<string, JobDefinition>()
const outputs = new Map<string, unknown>()
let rig: Rig
let sent = 0

beforeAll(async () => {
  rig = createRig()
  for (const [name, { procedure }] of host.procedures) {
    if (procedure.mode === 'stream') continue
    const job = defineJob(name.replace('.', '-'), {
      payload: procedure.input ?? z.unknown(),
      access: procedure.access,
      timeout: procedure.timeout,
      maxPayloadSize: procedure.maxInputSize,
      attempts: 1,
    })
    jobs.set(name, job)
    await rig.start(
      worker(job, { queue: rig.queue, concurrency: 8 }, async ({ payload, jobId, ...call }) => {
        const rest = { input: payload, requestId: jobId, deadline: null, lastEventId: undefined }
        const output: unknown = await procedure.handler({ ...call, ...rest } as never)
        // What a handler returns after its deadline reaches nobody.
        if (!call.signal.aborted) outputs.set(jobId, output ?? null)
      }),
      host,
    )
  }
})
afterAll(async () => {
  await rig[Symbol.asyncDispose]()
})

/** Whom a token stands for, as the process that enqueues finds out. */
async function principalOf(token: string | undefined): Promise<Principal> {
  if (token === undefined) return anonymous
  return await host.auth.authenticate({ scheme: 'bearer', token }, { signal: new AbortController().signal })
}

/** Seals the job for the caller and adds it past the checks of `enqueue`, so that the worker's own are under attack. */
async function run(
  job: JobDefinition,
  token: string | undefined,
  text: string,
  forged: Readonly<Record<string, string>> = {},
): Promise<SurfaceOutcome> {
  const principal = await principalOf(token)
  const id = `attack-${sent++}`
  const envelope = rig.queue.signer.seal({ prefix: rig.queue.prefix, job: job.name, id }, principal, text)
  await rig.queue.bull(job).add(job.name, { ...forged, ...envelope }, { jobId: id, attempts: 1 })
  const code = await until(async () => {
    if (outputs.has(id)) return 'done'
    const dead = await rig.queue.bull(job).getJob(id)
    return dead?.failedReason?.split(':')[0]
  })
  if (code === 'done') return { ok: true, output: outputs.get(id) }
  return { ok: false, kind: kinds[code] ?? 'internal', code }
}

async function attempt(
  method: string,
  act: (job: JobDefinition) => Promise<SurfaceOutcome>,
): Promise<SurfaceOutcome> {
  const job = jobs.get(method)
  if (job === undefined) return { ok: false, kind: 'not-found', code: 'ERR_CORE_NOT_FOUND' }
  try {
    return await act(job)
  } catch (error) {
    if (isQuintetError(error)) return { ok: false, kind: error.kind, code: error.code }
    throw error
  }
}

const surface: ForgeableSurface = {
  host,
  call: ({ method, input, token }) =>
    attempt(method, async (job) => {
      const text = JSON.stringify(input) ?? 'null'
      if (text.length > job.maxPayloadSize) await serializePayload(job, input)
      return await run(job, token, text)
    }),
  // Whoever can write to Redis can write anything beside the envelope.
  callForged: ({ method, input, token }, forged) =>
    attempt(method, (job) => run(job, token, JSON.stringify(input) ?? 'null', forged)),
}

describe('the job surface stands', () => {
  it.each(surfaceAttacks)('$name', (attack) => attack.run(surface))
  it.each(forgedContextAttacks)('$name', (attack) => attack.run(surface))
})
