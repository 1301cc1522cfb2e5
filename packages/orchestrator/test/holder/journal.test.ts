import assert from 'node:assert'
import { execFileSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { countHeld } from '../../src/holder/count-held.ts'
import { openJournal, readJournal, type JournalState } from '../../src/holder/journal.ts'
import { identify } from '../../src/processes/process-identity.ts'

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'qj-'))
  file = join(folder, 'state.jsonl')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const empty = (): JournalState => ({ processes: new Map(), servers: new Map() })
const fail = (error: Error): void => {
  throw error
}
const identity = { pid: 7, startTime: '1', bootId: 'b' }
const mark = { variable: 'm.', limit: '1' }
const holder = { folder: '/held/one', identity, mark, addresses: [] }
const generation = { generation: 1, mark, digest: 'd', ports: { http: 3002 }, startedAt: 1, restarts: 2 }

describe('the journal', () => {
  it('tells the next supervisor what is held, and not what has ended', () => {
    const journal = openJournal(file, empty(), fail)
    journal.append({ type: 'holder', id: 'one/http', ...holder })
    journal.append({ type: 'generation', id: 'one/http', ...generation })
    journal.append({ type: 'generation', id: 'one/http', ...generation, identity })
    journal.append({ type: 'generation', id: 'one/http', ...generation, generation: 2 })
    journal.append({ type: 'ended', id: 'one/http', generation: 2 })
    journal.append({ type: 'holder', id: 'two/http', ...holder })
    journal.append({ type: 'released', id: 'two/http' })
    journal.append({ type: 'server', name: 'postgres', identity, port: 1, source: 'embedded' })
    journal.append({ type: 'server', name: 'redis', identity, port: 2, source: 'path' })
    journal.append({ type: 'server-ended', name: 'redis' })
    const state = readJournal(file)
    expect([...state.processes]).toEqual([
      ['one/http', { holder, generations: new Map([[1, { ...generation, identity }]]) }],
    ])
    expect([...state.servers]).toEqual([['postgres', { identity, port: 1, source: 'embedded' }]])
    openJournal(file, state, fail)
    expect(readJournal(file)).toEqual(state)
    expect(readFileSync(file, 'utf8').trim().split('\n')).toHaveLength(3)
    expect(statSync(file).mode & 0o777).toBe(0o600)
  })

  it('is empty where there is none', () => {
    expect(readJournal(file)).toEqual(empty())
  })

  it('leaves out a last line that was not written whole, and holds nothing when another one is broken', () => {
    const journal = openJournal(file, empty(), fail)
    journal.append({ type: 'server', name: 'redis', identity, port: 2, source: 'path' })
    appendFileSync(file, '{"type":"server-ended","na')
    expect(readJournal(file).servers.size).toBe(1)
    appendFileSync(file, '\n')
    expect(readJournal(file)).toEqual(empty())
  })

  it('says when it cannot be written, and goes on', () => {
    const problems: string[] = []
    const journal = openJournal(file, empty(), (error) => problems.push(error.message))
    rmSync(folder, { recursive: true })
    journal.append({ type: 'server-ended', name: 'redis' })
    expect(problems).toEqual([expect.stringContaining('ENOENT')])
  })

  it('still tells that something goes on when a line of it cannot be read', () => {
    const own = identify(process.pid)
    assert(own !== undefined)
    const journal = openJournal(file, empty(), fail)
    journal.append({ type: 'server', name: 'redis', identity: own, port: 2, source: 'path' })
    appendFileSync(file, '{"type":"of-a-later-version"}\n{"type":"gen{"glued"\n')
    expect(readJournal(file)).toEqual(empty())
    expect(countHeld(file)).toBe(1)
  })

  it('has no part of a line that the disk had no room for', () => {
    const script = `
      import { openJournal } from ${JSON.stringify(new URL('../../src/holder/journal.ts', import.meta.url).href)}
      let problems = 0
      const journal = openJournal(${JSON.stringify(file)}, { processes: new Map(), servers: new Map() }, () => problems++)
      const identity = ${JSON.stringify(identity)}
      while (problems < 3) journal.append({ type: 'server', name: 'redis', identity, port: 2, source: 'path' })`
    execFileSync(
      '/bin/sh',
      ['-c', `trap '' XFSZ; ulimit -f 4; exec "$0" --input-type=module -e "$1"`, process.execPath, script],
      { stdio: 'pipe' },
    )
    expect(readFileSync(file, 'utf8')).toMatch(/\}\n$/)
    appendFileSync(file, `${JSON.stringify({ type: 'server-ended', name: 'redis' })}\n`)
    expect(readFileSync(file, 'utf8').split('\n').length).toBeGreaterThan(5)
    appendFileSync(
      file,
      `${JSON.stringify({ type: 'server', name: 'postgres', identity, port: 1, source: 'embedded' })}\n`,
    )
    expect([...readJournal(file).servers.keys()]).toEqual(['postgres'])
  })
})
