import type { Stage } from './stage.ts'
import { exportEverything } from './steps/account.ts'
import { checkAnalytics } from './steps/analytics.ts'
import { keepTenantsApart } from './steps/isolation.ts'
import { moveMoney } from './steps/ledger.ts'
import { turnMaintenanceOnAndOff } from './steps/maintenance.ts'
import { storeAndTransform } from './steps/media.ts'
import { hearEvents } from './steps/realtime.ts'
import { standNoisyNeighbour } from './steps/neighbours.ts'
import { killMedia } from './steps/recovery.ts'
import { endSessions } from './steps/sessions.ts'
import { stopInOrder } from './steps/shutdown.ts'
import { signUpEverybody } from './steps/sign-up.ts'
import { createStepRunner, type StepResult } from './step.ts'

/**
 * Plays the whole scenario through the gateway, as an outside client, and stops the ecosystem at its end
 * where `stopAtEnd` says so. A step that fails is reported, and the parts that build on it are left out.
 */
export async function playScenario(
  stage: Stage,
  options: { readonly stopAtEnd: boolean; readonly onStep?: (result: StepResult) => void },
): Promise<readonly StepResult[]> {
  const steps = createStepRunner(options.onStep)
  try {
    const cast = await signUpEverybody(stage, steps)
    const listener = await hearEvents(stage, steps, cast)
    const media = await storeAndTransform(stage, steps, cast, listener)
    await keepTenantsApart(stage, steps, cast, media)
    await moveMoney(stage, steps, cast, listener)
    await checkAnalytics(stage, steps, cast)
    await standNoisyNeighbour(stage, steps, cast)
    await exportEverything(steps, cast)
    await endSessions(stage, steps, cast)
    await turnMaintenanceOnAndOff(stage, steps, cast)
    await killMedia(stage, steps, cast)
    if (options.stopAtEnd) await stopInOrder(stage, steps, cast)
    await listener.close()
  } catch (error) {
    if (!steps.results.some((result) => result.error === error)) throw error
  }
  return steps.results
}
