import { byId, element, onSubmit } from './elements.ts'
import type { Session } from './session.ts'

interface Account {
  readonly id: string
  readonly ownerId: string
  readonly currency: string
  readonly balance: string
}

/** Opens accounts and moves money between them. */
export function startMoney(session: Session): { show(): Promise<void> } {
  const { id: ownerId } = session.user
  async function show(): Promise<void> {
    const { items } = await session.call<{ items: readonly Account[] }>('ledger', 'ledger/accounts', {
      limit: 100,
    })
    const own = items.filter((account) => account.ownerId === ownerId)
    const describe = ({ id, currency, balance }: Account): string =>
      `${balance} ${currency} (${id.slice(-6)})`
    byId('accounts').replaceChildren(...items.map((account) => element('li', describe(account))))
    byId('known-accounts').replaceChildren(
      ...items.map((account) => new Option(describe(account), account.id)),
    )
    for (const select of document.querySelectorAll<HTMLSelectElement>('#fund select, #transfer select')) {
      const chosen = select.value
      select.replaceChildren(...own.map((account) => new Option(describe(account), account.id)))
      if (own.some(({ id }) => id === chosen)) select.value = chosen
    }
  }
  const order = (form: string, procedure: string): void => {
    let asked: { readonly text: string; readonly idempotencyKey: string } | undefined
    onSubmit(form, async (fields) => {
      const input = Object.fromEntries(fields)
      const text = JSON.stringify(input)
      // The same again after a failure is the same transfer: it may have been posted.
      if (asked?.text !== text) asked = { text, idempotencyKey: crypto.randomUUID() }
      await session.call('ledger', `ledger/${procedure}`, { ...input, idempotencyKey: asked.idempotencyKey })
      asked = undefined
      await show()
    })
  }
  onSubmit('open', async (fields) => {
    await session.call('ledger', 'ledger/openAccount', { ...Object.fromEntries(fields), ownerId })
    await show()
  })
  order('fund', 'fund')
  order('transfer', 'transfer')
  return { show }
}
