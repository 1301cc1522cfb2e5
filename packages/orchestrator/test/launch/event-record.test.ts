import { expect, it } from 'vitest'
import { createEventRecord } from '../../src/launch/event-record.ts'

it('an event record keeps the last thousand, and tells each to those who listen', () => {
  const record = createEventRecord(() => 7)
  const heard: string[] = []
  const listening = record.subscribe((event) => heard.push(`${event.at} ${event.type}`))
  record.add({ type: 'progress', message: 'first' })
  listening[Symbol.dispose]()
  for (let count = 0; count < 1_000; count++) record.add({ type: 'progress', message: `${count}` })
  expect(heard).toEqual(['7 progress'])
  expect(record.events).toHaveLength(1_000)
  expect(record.events[0]).toEqual({ at: 7, type: 'progress', message: '0' })
})
