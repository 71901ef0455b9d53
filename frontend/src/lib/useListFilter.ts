import { useDebouncedValue } from '@mantine/hooks';
import { useState } from 'react';

/** Which part of a list is shown: what its entries contain, and the page, which a change of the text turns to the first. */
export function useListFilter() {
  const [text, setText] = useState('');
  const [page, setPage] = useState(0);
  const [q] = useDebouncedValue(text.trim(), 150);
  const change = (value: string) => {
    setText(value);
    setPage(0);
  };
  return { text, q, page, setPage, change };
}

export type ListFilter = ReturnType<typeof useListFilter>;
