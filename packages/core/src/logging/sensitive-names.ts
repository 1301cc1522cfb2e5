const sensitive =
  /(^(set-)?cookie|^(proxy-)?authorization|pass(word|phrase)?|secret|token|credential|private[_-]?key|api[_-]?key)s?$/i

/** Whether what stands under a name is a secret as a rule: it is shown in no log line and in no configuration. */
export function isSensitiveName(name: string): boolean {
  return sensitive.test(name)
}
