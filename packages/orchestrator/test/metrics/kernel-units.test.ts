import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { readKernelUnits } from '../../src/metrics/kernel-units.ts'

it.runIf(process.platform === 'linux')('finds what getconf says of this kernel', () => {
  const getconf = (name: string): number => Number(execFileSync('getconf', [name], { encoding: 'utf8' }))
  expect(readKernelUnits()).toEqual({ pageSize: getconf('PAGESIZE'), ticksPerSecond: getconf('CLK_TCK') })
})

it('finds pages of 64 KiB, and takes the usual units where there is no vector', () => {
  const folder = mkdtempSync(join(tmpdir(), 'q-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'auxv')
  expect(readKernelUnits(file)).toEqual({ pageSize: 4_096, ticksPerSecond: 100 })
  writeFileSync(file, Buffer.from(BigUint64Array.from([17n, 250n, 6n, 65_536n, 0n, 0n]).buffer))
  expect(readKernelUnits(file)).toEqual({ pageSize: 65_536, ticksPerSecond: 250 })
})
