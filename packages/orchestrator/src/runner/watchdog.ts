/** Names what keeps the process alive, for the last message before it is ended by force. */
export function describeHandles(): string {
  const counts = new Map<string, number>()
  for (const resource of process.getActiveResourcesInfo())
    counts.set(resource, (counts.get(resource) ?? 0) + 1)
  const names = [...counts].map(([name, count]) => (count === 1 ? name : `${name} (${count})`))
  return names.length === 0 ? 'nothing that Node knows of' : names.join(', ')
}
