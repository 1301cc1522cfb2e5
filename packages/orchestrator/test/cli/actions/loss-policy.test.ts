import { describe, expect, it } from 'vitest'
import { lossPolicy } from '../../../src/cli/actions/loss-policy.ts'

describe('the loss policy', () => {
  it.each([
    ['up', null, { dev: false, foreground: false, platform: 'linux' }, 'keep'],
    ['up elsewhere', null, { dev: false, foreground: false, platform: 'darwin' }, 'stop'],
    ['up --foreground', null, { dev: false, foreground: true, platform: 'linux' }, 'stop'],
    ['dev', null, { dev: true, foreground: false, platform: 'linux' }, 'stop'],
    ['up, as the file says', 'stop', { dev: false, foreground: false, platform: 'linux' }, 'stop'],
    [
      'up --foreground, as the file says',
      'keep',
      { dev: false, foreground: true, platform: 'linux' },
      'keep',
    ],
    ['dev, whatever the file says', 'keep', { dev: true, foreground: false, platform: 'linux' }, 'stop'],
  ] as const)('of %s', (_name, said, start, expected) => {
    expect(lossPolicy(said, start)).toBe(expected)
  })
})
