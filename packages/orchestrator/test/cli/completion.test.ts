import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const bin = join(import.meta.dirname, '../../src/bin.ts')
const quintet = (...args: string[]): string =>
  execFileSync(process.execPath, [bin, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })

/** What bash offers for the last of some words. */
function complete(...words: string[]): string[] {
  const program = `${quintet('completion', 'bash')}
COMP_WORDS=(quintet ${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length}
_quintet; printf '%s\\n' "\${COMPREPLY[@]}"`
  return execFileSync('bash', ['-c', program], { encoding: 'utf8' }).trim().split('\n')
}

describe('quintet completion', () => {
  it.each([
    [['st'], ['status']],
    [['migrate', 'do'], ['down']],
    [['migrate', 'down', 'media', '--st'], ['--steps']],
    [['logs', '--f'], ['--follow']],
    [['completion', ''], ['']],
  ])('completes %j', (words, offered) => {
    expect(complete(...words)).toEqual(offered)
  })

  it.each(['bash', 'zsh', 'fish'])('has a script for %s', (shell) => {
    expect(quintet('completion', shell)).toContain('settings')
  })

  it('knows no other shell', () => {
    expect(() => quintet('completion', 'tcsh')).toThrow('Allowed choices are bash, zsh, fish')
  })
})
