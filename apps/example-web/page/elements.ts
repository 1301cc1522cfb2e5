/** The element with an id, which the document has. */
export function byId(id: string): HTMLElement {
  const found = document.getElementById(id)
  if (!found) throw new Error(`The page has no #${id}.`)
  return found
}

/** A new element with text, or with others in it. Text stays text, whatever it holds. */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  ...content: readonly (string | Node)[]
): HTMLElementTagNameMap[Tag] {
  const made = document.createElement(tag)
  made.append(...content)
  return made
}

/** Runs what a form is for with its fields, once at a time, and shows what went wrong. */
export function onSubmit(
  id: string,
  submit: (fields: FormData, form: HTMLFormElement) => Promise<void>,
): void {
  const form = byId(id) as HTMLFormElement
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    void attempt(form, () => submit(new FormData(form), form))
  })
}

async function attempt(form: HTMLFormElement, work: () => Promise<void>): Promise<void> {
  const button = form.querySelector('button')
  if (button?.disabled) return
  if (button) button.disabled = true
  byId('problem').textContent = ''
  try {
    await work()
  } catch (error) {
    showProblem(error)
  } finally {
    if (button) button.disabled = false
  }
}

export function showProblem(error: unknown): void {
  byId('problem').textContent = error instanceof Error ? error.message : String(error)
}
