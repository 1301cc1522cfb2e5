import { createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import { freePorts, isPortFree } from '../../src/processes/free-port.ts'

describe('freePorts', () => {
  it('are different, free, and none that the system gives to connections', async () => {
    const ports = await freePorts(60)
    expect(new Set(ports).size).toBe(60)
    expect(ports.every((port) => port >= 20_000 && port < 32_768)).toBe(true)
    expect(await Promise.all(ports.map(isPortFree))).not.toContain(false)
  })

  it('go past one that is taken', async () => {
    const server = createServer()
    const [taken = 0] = await freePorts(1)
    await new Promise<void>((resolve) => server.listen(taken, '127.0.0.1', resolve))
    expect(await isPortFree(taken)).toBe(false)
    for (let draw = 0; draw < 20; draw++) expect(await freePorts(5)).not.toContain(taken)
    await new Promise((resolve) => server.close(resolve))
  })
})
