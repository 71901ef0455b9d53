import { Button } from '@mantine/core';
import { number } from '../lib/words';

/** One page back or forth, and where one is. Nothing when everything fits. */
export function Pager(props: { page: number; size: number; total: number; onChange: (page: number) => void }) {
  const { page, size, total } = props;
  if (total <= size && page === 0) {
    return null;
  }
  const pages = Math.max(1, Math.ceil(total / size));
  return (
    <nav className="pager" aria-label="Pages of the list">
      <Button variant="default" size="xs" disabled={page === 0} onClick={() => props.onChange(page - 1)}>
        Previous
      </Button>
      <span className="small" role="status">
        {number(page * size + 1)}–{number(Math.min(total, (page + 1) * size))} of {number(total)}
      </span>
      <Button variant="default" size="xs" disabled={page >= pages - 1} onClick={() => props.onChange(page + 1)}>
        Next
      </Button>
    </nav>
  );
}
