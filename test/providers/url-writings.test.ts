import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { writingsOf } from '../../src/providers/url-writings.ts'

describe('the writings of a URL', () => {
  it.each([
    ['https://sms.example.com/webhooks/seven', 'https://sms.example.com:443/webhooks/seven'],
    ['https://sms.example.com/webhooks/seven', 'https://SMS.EXAMPLE.COM/webhooks/seven'],
    ['https://SMS.Example.com/webhooks/seven', 'https://sms.example.com/webhooks/seven'],
    ['https://sms.example.com:443/a', 'https://sms.example.com/a/'],
    ['http://sms.example.com:80/a/', 'http://sms.example.com/a'],
    ['https://h/a?data%5Bmsg_id%5D=1', 'https://h/a?data[msg_id]=1'],
    ['https://h/a?data[msg_id]=1', 'https://h:443/a/?data%5Bmsg_id%5D=1'],
    ['https://h/a?t=2026-01-31+10%3a00', 'https://h/a?t=2026-01-31+10%3A00'],
    ['/a?t=1+2', '/a?t=1%202'],
    ['/a?msg_id=1&timestamp=2026-11-27+10%3A00%3A00.5', '/a?msg_id=1&timestamp=2026-11-27+10:00:00.5'],
    ['/a?timestamp=2026-11-27+10:00:00.5', '/a?timestamp=2026-11-27+10%3A00%3A00.5'],
    ['/a?timestamp=2026-11-27+10%3A00%3A00.5', '/a?timestamp=2026-11-27 10:00:00.5'],
    ['/a?timestamp=2026-11-27+10%3A00%3A00.5', '/a?timestamp=2026-11-27%2010%3a00%3a00.5'],
    ['/a?data[id]=1&data[t]=2026-11-27%2010:00', '/a?data%5Bid%5D=1&data%5Bt%5D=2026-11-27+10%3A00'],
    ['/a?data%5Bt%5D=27+10%3A00', '/a?data[t]=27+10:00'],
    ['/a?foreign_id=caf%C3%A9%26co', '/a?foreign_id=café%26co'],
    ['/a?foreign_id=a/b,c', '/a?foreign_id=a%2Fb%2Cc'],
    ['https://h/a', 'https://h/a?'],
    ['https://münchen.example/a', 'https://xn--mnchen-3ya.example/a'],
    ['https://xn--mnchen-3ya.example/a', 'https://münchen.example/a'],
  ])('of %s hold %s', (url, other) => {
    expect(writingsOf(url)).toContain(other)
  })

  it.each([
    ['https://h:8443/a', 'https://h/a'],
    ['https://h/a', 'http://h/a'],
    ['https://h/a', 'https://h/b'],
    ['https://h/a?x=1', 'https://h/a'],
    ['https://h/a?x=1', 'https://h/a?x=2'],
    ['https://h/A', 'https://h/a'],
    ['/a?x=1%262', '/a?x=1&2'],
    ['/a?x=%2541', '/a?x=A'],
    ['/a?x=1%2B2', '/a?x=1+2'],
  ])('of %s do not hold %s, which is another URL', (url, other) => {
    expect(writingsOf(url)).not.toContain(other)
  })

  it('begin with the given one, are few, and mean the same', () => {
    fc.assert(
      fc.property(fc.webUrl({ withQueryParameters: true }), (url) => {
        const writings = writingsOf(url)
        expect(writings[0]).toBe(url)
        expect(writings.length).toBeLessThan(1_000)
        const meaning = (text: string) => {
          const { protocol, host, pathname, searchParams } = new URL(text.replaceAll(' ', '%20'))
          return [protocol, host, pathname.replace(/\/+$/, ''), [...searchParams]]
        }
        for (const writing of writings) expect(meaning(writing)).toEqual(meaning(url))
      }),
    )
  })
})
