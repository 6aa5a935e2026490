/**
 * CM.com's XML as plain objects: elements and attributes become members, repeated elements a list, text beside
 * attributes the member `#text`. Document types, and entities beyond the five that XML itself defines, are refused:
 * nothing that CM sends needs them, and they are the way to make a parser read files or grow without end.
 */
import { XMLParser, XMLValidator } from 'fast-xml-parser'
import { LastwordError } from '../../core/errors.ts'

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '',
  ignoreDeclaration: true,
  ignorePiTags: true,
  parseTagValue: false,
  parseAttributeValue: false,
  processEntities: false,
  removeNSPrefix: true,
  maxNestedTags: 20,
  tagValueProcessor: (_name, text) => decode(text),
  attributeValueProcessor: (_name, text) => decode(text),
})

const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" }

/** Reads XML. Throws INPUT_INVALID with the place of the mistake, never with the text that stands there. */
export function parseXml(text: string): unknown {
  const xml = text.trimStart().replace(/<!\[CDATA\[([\s\S]*?)\]\]>/g, (_, data: string) => encode(data))
  refuse(xml, /<!(?!--)/, 'found a document type or another declaration, which is not accepted')
  refuse(xml, /&(?!(?:lt|gt|amp|quot|apos|#\d{1,7}|#x[\dA-Fa-f]{1,6});)/, 'found an entity beyond the predefined five')
  const verdict = XMLValidator.validate(xml)
  if (verdict !== true) throw invalidXml('found a mistake', verdict.err.line, verdict.err.col)
  try {
    return parser.parse(xml)
  } catch {
    throw invalidXml('found elements nested or named as none of them are')
  }
}

function encode(data: string): string {
  return data.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function decode(text: string): string {
  return text.replace(/&(#x?)?(\w+);/g, (_, reference: string | undefined, name: string) => {
    if (!reference) return ENTITIES[name] ?? ''
    const code = Number.parseInt(name, reference === '#x' ? 16 : 10)
    return code <= 0x10ffff ? String.fromCodePoint(code) : '\uFFFD'
  })
}

function refuse(xml: string, pattern: RegExp, found: string): void {
  const position = xml.search(pattern)
  if (position < 0) return
  const before = xml.slice(0, position)
  throw invalidXml(found, before.split('\n').length, position - before.lastIndexOf('\n'))
}

function invalidXml(found: string, line?: number, column?: number): LastwordError {
  const place = line === undefined ? '' : ` at line ${line}${column === undefined ? '' : `, column ${column}`}`
  return new LastwordError('INPUT_INVALID', `Expected a delivery receipt in XML, ${found}${place}.`)
}
