/** Whether a name means a process: its own id (`media/thumbs.1`), its app, or the process that it is an instance of. */
export function isNamed(id: string, name: string): boolean {
  return id === name || id.startsWith(`${name}/`) || id.replace(/\.\d+$/, '') === name
}
