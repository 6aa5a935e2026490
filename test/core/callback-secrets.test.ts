/** Which secrets sign a callback, by its URL. */
import { expect, it } from 'vitest'
import { secretsFor } from '../../src/core/callback-secrets.ts'

const callback = {
  secret: ['account'],
  endpoints: [
    { url: 'https://app.example', secret: ['app'] },
    { url: 'https://app.example/tenants/a', secret: ['a, next', 'a'] },
    { url: 'https://app.example/tenants/b/', secret: ['b'] },
    { url: 'https://app.example:8443/tenants', secret: ['other port'] },
  ],
}

it.each([
  ['https://app.example/', ['app']],
  ['https://app.example/sms?tenant=a', ['app']],
  ['https://APP.example:443/sms', ['app']],
  ['https://app.example/tenants/a', ['a, next', 'a']],
  ['https://app.example/tenants/a/?x=1', ['a, next', 'a']],
  ['https://app.example/tenants/a/sms', ['a, next', 'a']],
  ['https://app.example/tenants/b/../a', ['a, next', 'a']],
  ['https://app.example/tenants/b', ['b']],
  ['https://app.example/tenants/ab', ['app']],
  ['https://app.example:8443/tenants/a', ['other port']],
  ['https://app.example:8443/', ['account']],
  ['http://app.example/', ['account']],
  ['https://app.example.evil.example/', ['account']],
])('%s is signed with %j', (url, secrets) => {
  expect(secretsFor(url, callback)).toEqual(secrets)
})

it('is that of the account where no endpoints are configured', () => {
  expect(secretsFor('https://app.example/', { secret: ['account'] })).toEqual(['account'])
})
