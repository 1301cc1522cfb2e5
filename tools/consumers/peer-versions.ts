/** What a package's users may have installed beside it. */
export interface PeerVersions {
  readonly name: 'lowest' | 'highest'
  readonly versions: Readonly<Record<string, string>>
}

/** The floors that a manifest promises, and the newest versions that its ranges allow. */
export function peerVersions(peers: Readonly<Record<string, string>>): readonly PeerVersions[] {
  const pick = (choose: (alternatives: readonly string[]) => string): Record<string, string> =>
    Object.fromEntries(
      Object.entries(peers).map(([peer, range]) => [peer, choose(range.split(/\s*\|\|\s*/))]),
    )
  return [
    { name: 'lowest', versions: pick((alternatives) => alternatives[0]?.replace(/^\D+/, '') ?? '') },
    { name: 'highest', versions: pick((alternatives) => alternatives.at(-1) ?? '') },
  ]
}
