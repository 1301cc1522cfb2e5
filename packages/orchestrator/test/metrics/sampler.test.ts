import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { createSampler } from '../../src/metrics/sampler.ts'

describe('sampler', () => {
  it('measures again and again, and keeps no more than the retention', async () => {
    const sampler = createSampler({
      interval: 10,
      retention: 50,
      targets: () => new Map([['us', [process.pid]]]),
    })
    await until(() => sampler.history('us').length === 5)
    const oldest = sampler.history('us')[0]?.at ?? 0
    await until(() => (sampler.history('us')[0]?.at ?? 0) > oldest)
    expect(sampler.history('us')).toHaveLength(5)
    expect(sampler.latest('us')).toEqual(sampler.history('us').at(-1))
    sampler.close()
  })

  it('counts what a process has started, and divides shared memory', async () => {
    const parent = spawn('/bin/sh', ['-c', `${process.execPath} -e "setInterval(() => {}, 1000)" & wait`], {
      detached: true,
    })
    const sampler = createSampler({
      interval: 1e9,
      retention: 1e9,
      targets: () => new Map([['tree', [parent.pid ?? 0]]]),
    })
    await until(async () => {
      await sampler.sample()
      return (sampler.latest('tree')?.rss ?? 0) > 30e6
    })
    const { rss = 0, pss = 0 } = sampler.latest('tree') ?? {}
    expect(pss).toBeLessThan(rss)
    // A share that was measured while the process was small would say less.
    expect(pss).toBeGreaterThan(rss / 8)
    sampler.close()
    process.kill(-(parent.pid ?? 0), 'SIGKILL')
    await once(parent, 'exit')
  })

  it('measures CPU as a share of one core', async () => {
    const busy = spawn(process.execPath, ['-e', 'for (;;);'])
    const sampler = createSampler({
      interval: 1e9,
      retention: 1e9,
      targets: () => new Map([['busy', [busy.pid ?? 0]]]),
    })
    await sampler.sample()
    const cpu = await until(async () => {
      await sampler.sample()
      return sampler.latest('busy')?.cpu
    })
    expect(cpu).toBeGreaterThan(0)
    sampler.close()
    busy.kill('SIGKILL')
    await once(busy, 'exit')
  })
})
