import { byId, onSubmit, showProblem } from './elements.ts'
import { startFiles } from './files.ts'
import { startLive } from './live.ts'
import { startMoney } from './money.ts'
import { startSession } from './session.ts'

for (const form of ['sign-in', 'sign-up'] as const)
  onSubmit(form, async (fields) => {
    const session = await startSession(form, Object.fromEntries(fields))
    byId('user').textContent = `${session.user.name} (${session.user.roles.join(', ')})`
    byId('outside').hidden = true
    byId('inside').hidden = false
    const signOut = byId('sign-out')
    signOut.hidden = false
    // A new page knows nothing of this one: tokens, files and events are gone.
    signOut.addEventListener('click', () => {
      void session
        .call('auth', 'account/signOut', {})
        .catch(() => undefined)
        .then(() => location.reload())
    })
    const [files, money] = [startFiles(session), startMoney(session)]
    const show = (topic: string): void => {
      const part = topic.startsWith('media.') ? files : money
      part.show().catch(showProblem)
    }
    await Promise.all([files.show(), money.show(), startLive(session, show)])
  })
