import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createTestDatabase, redisUrl } from '../test-kit/src/index.ts'
import type { Example } from './examples.ts'

/** Runs an example as a program of its package, with servers as a developer has them, and answers with what it prints. */
export async function runExample(root: string, { file, line, code }: Example): Promise<string> {
  const folder = join(root, file, '..', '.doctest-run')
  const path = join(folder, `line-${line}.ts`)
  const database = await createTestDatabase()
  try {
    await mkdir(folder, { recursive: true })
    await writeFile(path, code)
    const { stdout } = await promisify(execFile)(process.execPath, [path], {
      env: {
        ...process.env,
        DATABASE_URL: database.url,
        REDIS_URL: redisUrl(),
        QUEUE_SECRET: randomBytes(32).toString('base64url'),
      },
      timeout: 30_000,
    })
    return stdout
  } finally {
    await rm(path, { force: true })
    await database.drop()
  }
}

/** What the page says that an example prints, as a pattern: `…` stands for what differs from run to run. */
export function printedPattern(prints: string): RegExp {
  const words = prints
    .trim()
    .split(/\s+/)
    .map((word) => word.split('…').map(RegExp.escape).join('\\S*'))
  return new RegExp(`^\\s*${words.join('\\s+')}\\s*$`)
}
