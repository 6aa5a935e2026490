/** An app that has both packages, by `import` and by `require`: an error of any of them is a LastwordError of each. */
import { createRequire } from 'node:module'
import * as library from 'lastword'
import * as client from 'lastword-client'
import postgres from 'postgres'

const { LASTWORD_URL: url = '', LASTWORD_API_KEY: apiKey, DATABASE_URL = '' } = process.env
const require = createRequire(import.meta.url)
const required: typeof client = require('lastword-client')
const requiredLibrary: typeof library = require('lastword')

const sql = postgres(DATABASE_URL, { onnotice: () => {} })
const order: client.Order = { account: 'seven', messages: [{ messageId: '77232007288' }] }
const tracked: client.Tracked = await sql.begin((tx) => library.track(tx, order))
console.log('tracked', tracked.tracked)

const failureOf = (running: Promise<unknown>) => running.catch((error: unknown) => error)
const errors = {
  client: await failureOf(client.createClient({ url, apiKey }).get('seven', '404')),
  'required client': await failureOf(required.createClient({ url, apiKey }).get('seven', '404')),
  library: await failureOf(library.createClient({ url, apiKey }).get('seven', '404')),
  transaction: await failureOf(sql.begin((tx) => library.track(tx, { ...order, account: 'eight' }))),
  none: new Error('none'),
}
for (const [name, error] of Object.entries(errors)) {
  const classes = [client, required, library, requiredLibrary].map(
    ({ LastwordError }) => error instanceof LastwordError,
  )
  console.log(name, classes.join())
}
await sql.end()
