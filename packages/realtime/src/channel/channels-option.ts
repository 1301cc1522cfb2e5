import { option } from '@quintet/core/kit'
import { isChannel, type Channel } from './channel.ts'
import type { ChannelPattern } from './channel-pattern.ts'

const channelOption = option.parsed<Channel>('a channel()', (given, path) => {
  if (isChannel(given)) return given
  throw new TypeError(`${path}: is not what channel() returns.`)
})

/** Definitions of channels, the most specific patterns first. Two that could be taken for each other are refused. */
export const channelsOption = option
  .list(channelOption, { min: 1, unique: ({ pattern }) => pattern.text })
  .map(orderBySpecificity)

function orderBySpecificity(channels: readonly Channel[], path: string): readonly Channel[] {
  for (const [index, { pattern }] of channels.entries()) {
    for (const other of channels.slice(index + 1)) refuseAmbiguity(pattern, other.pattern, path)
  }
  return Object.freeze(channels.toSorted((one, other) => literals(other.pattern) - literals(one.pattern)))
}

/** @throws TypeError when both match some name and neither is the special case of the other. */
function refuseAmbiguity(one: ChannelPattern, other: ChannelPattern, path: string): void {
  if (one.segments.length !== other.segments.length) return
  const pairs = one.segments.map((segment, at) => [segment, other.segments[at] ?? ''] as const)
  const areApart = pairs.some(([a, b]) => !isParam(a) && !isParam(b) && a !== b)
  if (areApart) return
  const oneIsNarrower = pairs.some(([a, b]) => !isParam(a) && isParam(b))
  const otherIsNarrower = pairs.some(([a, b]) => isParam(a) && !isParam(b))
  if (oneIsNarrower !== otherIsNarrower) return
  throw new TypeError(
    `${path}: ${JSON.stringify(one.text)} and ${JSON.stringify(other.text)} match the same channels, and neither is more specific.`,
  )
}

function literals({ segments }: ChannelPattern): number {
  return segments.filter((segment) => !isParam(segment)).length
}

function isParam(segment: string): boolean {
  return segment.startsWith(':')
}
