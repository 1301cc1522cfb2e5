/** The first minor release of each major one in which no known flaw lets rows pass a policy. */
const firstSafe: Readonly<Record<number, number>> = { 13: 22, 14: 19, 15: 14, 16: 10, 17: 6 }

/**
 * What is wrong with a server version, or undefined.
 *
 * @param version `server_version_num`, e.g. 150018 for 15.18.
 * @see CVE-2023-2455, CVE-2024-10976, CVE-2025-8713
 */
export function knownFlaw(version: number): string | undefined {
  const major = Math.floor(version / 10_000)
  const minor = version % 10_000
  if (major < 13) return `PostgreSQL ${major} is no longer maintained. Use 15 or newer.`
  const safe = firstSafe[major]
  if (safe === undefined || minor >= safe) return undefined
  return `PostgreSQL ${major}.${minor} has known flaws in row-level security (CVE-2025-8713 and earlier). Update to ${major}.${safe} or newer.`
}
