/**
 * XML as plain objects: elements and attributes become members, repeated elements a list, text beside attributes the
 * member `#text`. Entities of HTML are read; an ampersand that begins none, a `<` that begins no element, and within a text
 * a tag that nothing closes, stand for themselves. Document types are refused: nothing that providers send needs them, and they are the way to make a parser read
 * files or grow without end.
 */
import { ALL_ENTITIES, EntityDecoder } from '@nodable/entities'
import { XMLParser, XMLValidator } from 'fast-xml-parser'

export type XmlReading = { ok: true; value: unknown } | { ok: false; mistake: string }

/** Names that the parser refuses, with the whole text: they are set aside under others. */
const REFUSED_NAMES: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])
const acceptable = (name: string) => (REFUSED_NAMES.has(name) ? `#${name}` : name)

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '',
  ignoreDeclaration: true,
  ignorePiTags: true,
  parseTagValue: false,
  parseAttributeValue: false,
  entityDecoder: new EntityDecoder({ namedEntities: ALL_ENTITIES, numericAllowed: true }),
  removeNSPrefix: true,
  transformTagName: acceptable,
  transformAttributeName: acceptable,
  maxNestedTags: 20,
})

/** Up to the end where they are not closed: looking for the end of each anew would take time without end. */
const OUTSIDE_MARKUP = /<!\[CDATA\[[\s\S]*?(?:\]\]>|$)|<!--[\s\S]*?(?:-->|$)/g
const BARE =
  /<!\[CDATA\[[\s\S]*?(?:\]\]>|$)|<!--[\s\S]*?(?:-->|$)|&(?!(?:#\d{1,7}|#x[\dA-Fa-f]{1,6}|[A-Za-z][A-Za-z\d]{0,31});)|<(?![A-Za-z_:/!?\u0080-\uffff])|<(?=[^<>/]*<\/)/g
const TAG = /<(\/?)([A-Za-z_][^\s<>/]*)(?:[\s/][^<>]*)?>/g

/** Reads XML, several documents or whatever stands behind its end; a mistake names its place, never the text that stands there. */
export function readXml(text: string): XmlReading {
  const whole = readDocument(text)
  if (whole.ok) return whole
  const end = endOfDocument(text)
  const mayBeSeveral = /^<[\p{L}_?]/u.test(text) && text.endsWith('>')
  if (end === text.length && !mayBeSeveral) return whole
  const document = readDocument(end < text.length ? text.slice(0, end) : allDocuments(text))
  return document.ok ? document : whole
}

/** The documents of a text as the parts of one. */
function allDocuments(text: string): string {
  return `<documents>${text.replace(/<\?xml[^>]*\?>/g, '')}</documents>`
}

/** Behind the last end of the outermost element; the end of the text where it is not closed, or where more begins. */
function endOfDocument(text: string): number {
  const closing = `</${/<([\p{L}_][\w:.-]*)/u.exec(text)?.[1]}>`
  const end = text.lastIndexOf(closing) + closing.length
  return end < closing.length || text.includes('<', end) ? text.length : end
}

function readDocument(text: string): XmlReading {
  const position = text.replace(OUTSIDE_MARKUP, (piece) => ' '.repeat(piece.length)).search(/<![A-Za-z[]/)
  if (position >= 0) return mistakeAt(text, position, 'a document type or another declaration, which is not accepted')
  const xml = text.replace(BARE, (piece) => (piece === '&' ? '&amp;' : piece === '<' ? '&lt;' : piece))
  const verdict = XMLValidator.validate(xml)
  const plain = verdict === true ? xml : withoutStray(xml)
  if (verdict !== true && XMLValidator.validate(plain) !== true)
    return { ok: false, mistake: `a mistake at line ${verdict.err.line}, column ${verdict.err.col}` }
  try {
    return { ok: true, value: parser.parse(plain) }
  } catch {
    return { ok: false, mistake: 'elements nested or named as none of them are' }
  }
}

/** With the tags as text that stand behind text, and that nothing closes before the element around them ends. */
function withoutStray(xml: string): string {
  const open: { name: string; at: number; isBehindText: boolean }[] = []
  const stray: number[] = []
  let end = 0
  for (const { 0: tag, 1: slash, 2: name = '', index: at } of xml.matchAll(TAG)) {
    const isBehindText = xml.slice(end, at).trim() !== ''
    end = at + tag.length
    if (tag.endsWith('/>')) continue
    if (slash === '') {
      open.push({ name, at, isBehindText })
      continue
    }
    for (let last = open.pop(); last && last.name !== name; last = open.pop()) {
      if (!last.isBehindText) return xml
      stray.push(last.at)
    }
  }
  const places = new Set(stray)
  return places.size === 0 ? xml : xml.replace(/</g, (sign, at: number) => (places.has(at) ? '&lt;' : sign))
}

function mistakeAt(text: string, position: number, found: string): XmlReading {
  const before = text.slice(0, position)
  const place = `line ${before.split('\n').length}, column ${position - before.lastIndexOf('\n')}`
  return { ok: false, mistake: `${found} at ${place}` }
}
