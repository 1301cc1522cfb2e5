import type { Socket } from 'node:net'

/** How long the answer of an upstream that takes no more of a request may be on its way. */
const answerGraceMs = 500

/**
 * Reports that the upstream reads no more only when it has also been read to its end: one that refuses a request early
 * may close the connection while the body is still being sent. The write fails, but its answer has arrived, and is read
 * first (RFC 9112, section 9.5).
 */
export function delayWriteErrors(socket: Socket): void {
  type Written = (error?: Error | null) => void
  const { _write: write, _writev: writev } = socket
  // A stream writes one thing at a time.
  let written: Written = () => undefined
  const onWritten: Written = (error) => {
    const report = written
    if (error && isReset(error) && !socket.destroyed && !socket.readableEnded)
      whenRead(socket, () => report(error))
    else report(error)
  }
  socket._write = (chunk, encoding, callback) => {
    written = callback
    write.call(socket, chunk, encoding, onWritten)
  }
  if (!writev) return
  socket._writev = (chunks, callback) => {
    written = callback
    writev.call(socket, chunks, onWritten)
  }
}

function isReset({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EPIPE' || code === 'ECONNRESET'
}

/** Calls back once the socket has been read to its end, or is closed, or nothing comes. */
function whenRead(socket: Socket, callback: () => void): void {
  const done = (): void => {
    clearTimeout(timer)
    socket.off('end', done).off('close', done)
    callback()
  }
  const timer = setTimeout(done, answerGraceMs)
  socket.once('end', done).once('close', done)
}
