/** The command `sandbox`: the simulated provider by itself, until it is stopped. */
import { LastwordError } from '../core/errors.ts'
import { cannotListen } from '../runtime.ts'
import { firstMessageIdAt } from '../sandbox/messages.ts'
import { createSandbox, type Sandbox } from '../sandbox/server.ts'

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
  console.log(instructionsFor(sandbox).join('\n'))
  await stopped
  await sandbox.close()
}

/** For each provider, what belongs into an account, and a command that sends. */
function instructionsFor({ url, apiKey, cm }: Sandbox): string[] {
  const at = (path: string) => new URL(path, url).href
  const json = "-H 'Content-Type: application/json'"
  const sms = {
    from: 'Shop',
    to: [{ number: '00447700900001' }],
    body: { type: 'auto', content: 'Hello' },
    reference: 'order-4711',
  }
  return [
    `seven.io: set "baseUrl":"${url}" and "apiKey":"${apiKey}" in an account, and send one message, or many:`,
    `  curl ${url}/sms -H 'X-Api-Key: ${apiKey}' -d to=447700900001 -d text=Hello`,
    `  curl ${at('/sandbox/messages')} ${json} -d '{"count":10}'`,
    `CM.com: set "baseUrl":"${cm.url}" and "productToken":"${cm.productToken}" in an account, and send:`,
    `  curl ${at('/cm/v1.0/message')} -H 'X-CM-PRODUCTTOKEN: ${cm.productToken}' ${json} -d '${JSON.stringify({ messages: { msg: [sms] } })}'`,
    `  curl ${at('/sandbox/cm/messages')} ${json} -d '{"count":10}'`,
    `What becomes of them: ${at('/sandbox/truth')} and ${at('/sandbox/cm/truth')}.`,
    `Faults: PUT to ${at('/sandbox/knobs')}.`,
  ]
}

function parseKnobs(json: string): object {
  try {
    return JSON.parse(json)
  } catch {
    throw new LastwordError('INPUT_INVALID', '--knobs: expected a JSON object.')
  }
}
