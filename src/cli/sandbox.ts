/** The command `sandbox`: the simulated provider by itself, until it is stopped. */
import { LastwordError } from '../core/errors.ts'
import { cannotListen } from '../runtime.ts'
import { firstMessageIdAt } from '../sandbox/messages.ts'
import { createSandbox } from '../sandbox/server.ts'

export interface SandboxFlags {
  port: number
  seed: number
  timeScale: number
  webhookUrl?: string
  knobs: string
}

export async function runSandbox(
  { port, seed, timeScale, webhookUrl, knobs }: SandboxFlags,
  stopped: Promise<unknown>,
): Promise<void> {
  const knobsGiven = { webhookUrl: webhookUrl ?? null }
  const firstMessageId = firstMessageIdAt(Date.now())
  const options = { port, seed, law: { timeScale }, knobs: { ...knobsGiven, ...parseKnobs(knobs) }, firstMessageId }
  const sandbox = await createSandbox(options).catch((error: unknown) => {
    throw cannotListen('127.0.0.1', port, error)
  })
  console.log(`Sandbox provider: set "baseUrl":"${sandbox.url}" and "apiKey":"${sandbox.apiKey}" in an account.`)
  console.log(`For CM.com: "baseUrl":"${sandbox.cm.url}" and "productToken":"${sandbox.cm.productToken}".`)
  const at = (path: string) => new URL(path, sandbox.url).href
  console.log(`It sends by POST ${sandbox.url}/sms and POST ${at('/sandbox/cm/messages')} {"count":10},`)
  console.log(`tells the truth at ${at('/sandbox/truth')} and ${at('/sandbox/cm/truth')},`)
  console.log(`and lets faults happen by PUT ${at('/sandbox/knobs')}.`)
  await stopped
  await sandbox.close()
}

function parseKnobs(json: string): object {
  try {
    return JSON.parse(json)
  } catch {
    throw new LastwordError('INPUT_INVALID', '--knobs: expected a JSON object.')
  }
}
