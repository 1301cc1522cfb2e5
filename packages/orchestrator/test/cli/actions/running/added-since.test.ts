import { expect, it } from 'vitest'
import { explainUnknown } from '../../../../src/cli/actions/running/added-since.ts'
import { OrchestratorError } from '../../../../src/errors.ts'
import { trioConfig } from '../../../trio.ts'

const unknown = new OrchestratorError('There is no app or process.', {
  code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS',
  kind: 'not-found',
})

it('says that the ecosystem file has an app that what runs does not know', async () => {
  const options = { config: trioConfig }
  await expect(explainUnknown('three', options, Promise.reject(unknown))).rejects.toMatchObject({
    code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS',
    message: expect.stringContaining('"three" does not run: the ecosystem file has changed') as string,
  })
  await expect(explainUnknown('four', options, Promise.reject(unknown))).rejects.toBe(unknown)
  await expect(explainUnknown('three', { config: '/none.ts' }, Promise.reject(unknown))).rejects.toBe(unknown)
  expect(await explainUnknown('three', options, Promise.resolve(1))).toBe(1)
})
