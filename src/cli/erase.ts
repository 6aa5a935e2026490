/** `lastword erase`: one message, or everything of a phone number. */
import { createClient } from '../client/client.ts'
import { readServiceLocation } from '../config.ts'
import { LastwordError } from '../core/errors.ts'
import type { MessageFlags } from './messages.ts'

export async function runErase(
  account: string | undefined,
  messageId: string | undefined,
  flags: MessageFlags,
): Promise<void> {
  const client = createClient(readServiceLocation(flags))
  const { recipient } = flags
  if (account !== undefined && messageId !== undefined) {
    await client.erase(account, messageId, { recipient })
    console.log(flags.json ? JSON.stringify({ erased: 1 }) : 'Erased.')
  } else if (account === undefined && recipient !== undefined) {
    const erased = await client.eraseRecipient(recipient)
    console.log(flags.json ? JSON.stringify({ erased }) : `Erased ${erased} ${erased === 1 ? 'message' : 'messages'}.`)
  } else {
    throw new LastwordError('CONFIG_INVALID', 'Expected an account and a message ID, or --recipient alone.')
  }
}
