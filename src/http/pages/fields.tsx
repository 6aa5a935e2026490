/** Fields of a form of filters: each keeps what was filled in. */
import type { ComponentChildren, JSX } from 'preact'
import type { Texts } from './page-context.tsx'

interface FilterFormProps {
  action: string
  isFiltered: boolean
  children: ComponentChildren
}

/** Folded away while nothing is filtered. */
export function FilterForm({ action, isFiltered, children }: FilterFormProps): JSX.Element {
  return (
    <details id="filters" open={isFiltered}>
      <summary>Filters</summary>
      <form action={action} class="filters">
        {children}
        <button type="submit">Filter</button>
        {isFiltered && (
          <a class="button" href={action}>
            All
          </a>
        )}
      </form>
    </details>
  )
}

interface FieldProps {
  name: string
  label: string
  given: Texts
  placeholder?: string
}

interface ChoiceProps extends FieldProps {
  values: readonly string[]
  names?: readonly string[]
}

/** A value that is none of the choices is one of them all the same, so that a mistake can be seen. */
export function Choice({ name, label, values, names = values, given }: ChoiceProps): JSX.Element {
  const chosen = given[name]
  const isOther = chosen !== undefined && chosen !== '' && !values.includes(chosen)
  return (
    <label>
      {label}
      <select name={name}>
        <option value="">any</option>
        {isOther && (
          <option value={chosen} selected>
            {chosen}
          </option>
        )}
        {values.map((value, index) => (
          <option value={value} selected={chosen === value}>
            {names[index]}
          </option>
        ))}
      </select>
    </label>
  )
}

export function Text({ name, label, given, placeholder }: FieldProps): JSX.Element {
  return (
    <label>
      {label}
      <input type="text" name={name} value={given[name]} placeholder={placeholder} size={12} />
    </label>
  )
}

/** A time that a browser would not show in its own field is shown as text. */
export function Moment({ name, label, given }: FieldProps): JSX.Element {
  const value = given[name]
  if (value && !/^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?$/.test(value))
    return <Text name={name} label={label} given={given} />
  return (
    <label>
      {label}
      <input type="datetime-local" name={name} value={value} />
    </label>
  )
}

/** Fields that a form sends along unseen. */
export function Hidden({ fields }: { fields: Readonly<Record<string, string>> }): JSX.Element {
  return (
    <>
      {Object.entries(fields).map(([name, value]) => (
        <input type="hidden" name={name} value={value} />
      ))}
    </>
  )
}
