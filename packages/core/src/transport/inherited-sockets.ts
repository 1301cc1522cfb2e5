/** The first descriptor that is handed over; those before are input, output and errors. */
const firstSocket = 3

/**
 * The listening sockets that this process has inherited by systemd's protocol for socket activation, as file descriptors
 * by their `FileDescriptorName=`. None when they were meant for another process (`LISTEN_PID`).
 *
 * @throws TypeError when the variables contradict themselves, or two sockets have one name.
 * @see https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
 *
 * @example
 * const fd = inheritedSockets().get('http')
 * const transport = fd === undefined ? http({ port: 3002 }) : http({ fd })
 */
export function inheritedSockets(
  env: Readonly<Record<string, string | undefined>> = process.env,
): ReadonlyMap<string, number> {
  const { LISTEN_PID: pid, LISTEN_FDS: fds, LISTEN_FDNAMES: text } = env
  if (fds === undefined || pid !== String(process.pid)) return new Map()
  const count = Number(fds)
  if (!Number.isSafeInteger(count) || count < 0)
    throw new TypeError(`LISTEN_FDS: ${JSON.stringify(fds)} is no number of sockets.`)
  const names = text === undefined ? Array.from({ length: count }, () => 'unknown') : text.split(':')
  if (names.length !== count && count > 0)
    throw new TypeError(`LISTEN_FDNAMES: names ${names.length} sockets, and LISTEN_FDS says ${count}.`)
  const sockets = new Map<string, number>()
  for (const [index, name] of names.slice(0, count).entries()) {
    if (sockets.has(name))
      throw new TypeError(
        `LISTEN_FDNAMES: two sockets are called "${name}". Give each a FileDescriptorName= of its own.`,
      )
    sockets.set(name, firstSocket + index)
  }
  return sockets
}
