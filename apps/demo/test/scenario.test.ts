import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openStage, type LiveStage } from '../src/live-stage.ts'
import { playScenario } from '../src/scenario.ts'
import type { StepResult } from '../src/step.ts'

let directory: string
let stage: LiveStage
let results: readonly StepResult[] = []

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'quintet-scenario-'))
  stage = await openStage({ directory, ports: 'auto' })
  results = await playScenario(stage, { stopAtEnd: true })
}, 180_000)

afterAll(async () => {
  await stage.stop()
  await rm(directory, { recursive: true, force: true })
})

describe('the five-app fan-out behind its gateway', () => {
  it('holds every step of the scenario', () => {
    const failed = results.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`)
    expect(failed).toEqual([])
    expect(results.length).toBeGreaterThanOrEqual(25)
  })

  it('leaves no process behind', () => {
    for (const pid of stage.seenPids) expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  })
})
