/** The requests that webhooks are, in the forms that both providers use. */

export interface OutgoingRequest {
  method: 'GET' | 'POST'
  url: string
  headers: Record<string, string>
  /** Empty for a GET. */
  body: string
}

export function post(url: string, contentType: string, body: string): OutgoingRequest {
  return { method: 'POST', url, headers: { 'content-type': contentType }, body }
}

export function postForm(url: string, fields: Record<string, string>): OutgoingRequest {
  return post(url, 'application/x-www-form-urlencoded', new URLSearchParams(fields).toString())
}

/** The fields stand in the query, behind whatever is there already. */
export function get(url: string, fields: Record<string, string>): OutgoingRequest {
  const complete = new URL(url)
  for (const [name, value] of Object.entries(fields)) complete.searchParams.append(name, value)
  return { method: 'GET', url: complete.href, headers: {}, body: '' }
}
