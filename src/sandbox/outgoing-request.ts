/** The requests that webhooks are, in the forms that both providers use. */

export interface OutgoingRequest {
  method: 'GET' | 'POST'
  url: string
  headers: Record<string, string>
  /** Empty for a GET. */
  body: string | Buffer
}

export function post(url: string, contentType: string, body: string): OutgoingRequest {
  return { method: 'POST', url, headers: { 'content-type': contentType }, body }
}

export function postForm(url: string, fields: Record<string, string>): OutgoingRequest {
  return post(url, 'application/x-www-form-urlencoded', new URLSearchParams(fields).toString())
}

/** A form in parts, as it is written by senders that could attach files. */
export function postParts(url: string, fields: Record<string, string>): OutgoingRequest {
  const boundary = '----sandbox7MA4YWxkTrZu0gW'
  const parts = Object.entries(fields).map(
    ([name, value]) => `--${boundary}\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  )
  return post(url, `multipart/form-data; boundary=${boundary}`, `${parts.join('')}--${boundary}--\r\n`)
}

/** The fields stand in the query, behind whatever is there already. */
export function get(url: string, fields: Record<string, string>): OutgoingRequest {
  return { method: 'GET', url: withQuery(url, fields), headers: {}, body: '' }
}

/** A POST whose fields stand in the query, and whose body is empty. */
export function postQuery(url: string, fields: Record<string, string>): OutgoingRequest {
  return { method: 'POST', url: withQuery(url, fields), headers: {}, body: '' }
}

function withQuery(url: string, fields: Record<string, string>): string {
  const complete = new URL(url)
  for (const [name, value] of Object.entries(fields)) complete.searchParams.append(name, value)
  return complete.href
}
