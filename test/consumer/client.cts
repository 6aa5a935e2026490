/** An app that has the client alone, by `require`. */
import client = require('lastword-client')

declare const process: { env: Record<'LASTWORD_URL' | 'LASTWORD_API_KEY', string> }

const { LASTWORD_URL: url, LASTWORD_API_KEY: apiKey } = process.env

async function run(): Promise<void> {
  const lastword: client.Client = client.createClient({ url, apiKey })
  const message: client.Message = await lastword.get('seven', '77232007287')
  console.log('required', message.status)
  const error: unknown = await lastword.get('seven', '404').catch((error: unknown) => error)
  if (error instanceof client.LastwordError) console.log('failed', error.code satisfies client.ErrorCode)
}
void run()
