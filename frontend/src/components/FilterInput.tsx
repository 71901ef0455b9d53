import { TextInput } from '@mantine/core';
import type { ListFilter } from '../lib/useListFilter';

/** The field of a list's toolbar that narrows the list. */
export function FilterInput(props: { label: string; filter: ListFilter; maxLength?: number }) {
  const { label, filter, maxLength } = props;
  return (
    <TextInput
      aria-label={label}
      placeholder={label}
      value={filter.text}
      maxLength={maxLength}
      onChange={(event) => filter.change(event.currentTarget.value)}
      className="toolbar-text"
    />
  );
}
