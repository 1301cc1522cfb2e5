import { readFileSync } from 'node:fs'
import { endianness } from 'node:os'

/** In what the kernel counts. */
export interface KernelUnits {
  /** Of CPU time. */
  readonly ticksPerSecond: number
  /** Bytes of a page of memory: 4 KiB, and 16 or 64 KiB on some arm64 and ppc64 kernels. */
  readonly pageSize: number
}

/** What almost every Linux has. */
const usual: KernelUnits = { ticksPerSecond: 100, pageSize: 4_096 }

/** Keys of the auxiliary vector, as in `<elf.h>`. */
const pageSizeKey = 6n
const ticksKey = 17n

/** Reads the auxiliary vector that the kernel gives to every process. */
export function readKernelUnits(file = '/proc/self/auxv'): KernelUnits {
  let vector: Buffer
  try {
    vector = readFileSync(file)
  } catch {
    return usual
  }
  const found = new Map<bigint, number>()
  for (let at = 0; at + 16 <= vector.length; at += 16)
    found.set(wordAt(vector, at), Number(wordAt(vector, at + 8)))
  return {
    ticksPerSecond: found.get(ticksKey) || usual.ticksPerSecond,
    pageSize: found.get(pageSizeKey) || usual.pageSize,
  }
}

function wordAt(vector: Buffer, offset: number): bigint {
  return endianness() === 'LE' ? vector.readBigUInt64LE(offset) : vector.readBigUInt64BE(offset)
}
