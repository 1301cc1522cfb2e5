/**
 * What a holder runs: a POSIX shell that owns the listening sockets of one process (descriptors 3 to 9) and starts each
 * generation of it, so that sockets, output and exit codes outlive the supervisor.
 *
 * It works in its folder. `control` brings it `start <generation>` and `end`; `spec.<generation>` says what to start, in
 * shell; `events` gets a line for whatever happens; `out.<generation>` and `err.<generation>` carry the output. All
 * pipes are open for reading and writing, so that none ever has no other end. After its process has ended, a generation
 * keeps its output until `ack.<generation>` says that it has been read.
 *
 * A background command of a shell ignores SIGINT and SIGQUIT, and cannot undo that by itself; Node does.
 */
export const holderScript = `
cd "$1" || exit 1
mkfifo -m 600 control || exit 1
exec 0<>control
generation() {
  exec 1<>"out.$1" 2<>"err.$1"
  setsid /bin/sh -c '
    echo "started $1 $$" >>events
    export LISTEN_PID=$$
    . "./spec.$1"
    exec "$@"
  ' quintet-generation "$1" </dev/null &
  app=$!
  exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
  wait "$app"
  echo "ended $1 $?" >>events
  read -r _ <"ack.$1"
  rm -f "out.$1" "err.$1" "ack.$1"
}
echo "holding $$" >>events
while read -r action number; do
  case "$action" in
    start)
      if mkfifo -m 600 "out.$number" "err.$number" "ack.$number"; then generation "$number" &
      else echo "ended $number 126" >>events; fi
      ;;
    end) exit 0 ;;
  esac
done
`

/** What {@link holderScript} can close. */
export const maxSockets = 7

export interface GenerationSpec {
  readonly command: readonly string[]
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
}

/**
 * A specification as the shell reads it: exactly this environment, this folder, and the command as its arguments. It
 * removes its own file first, which has secrets in it.
 *
 * @throws TypeError for a variable whose name a shell cannot export.
 */
export function specText(generation: number, { command, cwd, env }: GenerationSpec): string {
  const strange = Object.keys(env).find((name) => !/^[A-Za-z_]\w*$/.test(name))
  if (strange !== undefined)
    throw new TypeError(`a shell cannot hand on an environment variable named ${JSON.stringify(strange)}`)
  return [
    `rm -f 'spec.${generation}'`,
    // Of the holder's own only what tells of the sockets.
    'unset PWD OLDPWD QUINTET_MARK PATH',
    '[ "$LISTEN_FDS" = 0 ] && unset LISTEN_PID LISTEN_FDS LISTEN_FDNAMES',
    `cd ${quote(cwd)} || exit 126`,
    'unset PWD OLDPWD',
    ...Object.entries(env).map(([name, value]) => `export ${name}=${quote(value)}`),
    `set -- ${command.map(quote).join(' ')}`,
    '',
  ].join('\n')
}

function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
