import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import type { Plan } from '../../src/plan/plan.ts'
import { assignPorts, describeProblem } from '../../src/supervisor/assign-ports.ts'

const planOf = (ports: readonly number[]): Plan =>
  ({
    gateway: null,
    processes: ports.map((http, index) => ({ id: `app/http.${index}`, ports: { http } })),
  }) as unknown as Plan

describe('assignPorts', () => {
  it('draws no port twice, also not one that another process is to have', async () => {
    const [fixed = 0] = [
      ...(await assignPorts(planOf([0]), { ports: 'auto', gatewayPort: undefined })).values(),
    ].map(({ http }) => http)
    for (let round = 0; round < 30; round++) {
      const plan = planOf([fixed, ...Array.from({ length: 50 }, () => 0)])
      const assigned = await assignPorts(plan, { ports: 'fixed', gatewayPort: undefined })
      const ports = [...assigned.values()].map(({ http }) => http)
      expect(ports[0]).toBe(fixed)
      expect(ports).not.toContain(0)
      expect(new Set(ports).size).toBe(51)
    }
  })

  it('says whether a port is taken or may not be used', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await expect(assignPorts(planOf([port]), { ports: 'fixed', gatewayPort: undefined })).rejects.toThrow(
      `app/http.0 needs port ${port}, which is in use by pid ${process.pid}`,
    )
    server.close()
    expect(await describeProblem(443, 'EACCES')).toBe(
      'on which this user may not listen: ports below 1024 are for root',
    )
    expect(await describeProblem(8080, 'EMFILE')).toBe('on which it cannot listen (EMFILE)')
  })
})
