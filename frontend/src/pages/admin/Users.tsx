import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import * as api from '../../api';
import { FilterInput } from '../../components/FilterInput';
import { Icon } from '../../components/Icon';
import { Pager } from '../../components/Pager';
import { EmptyState, ErrorNotice, Skeletons, Time } from '../../components/Parts';
import { useListFilter } from '../../lib/useListFilter';
import { shortName, useWho } from '../../lib/who';
import { count, number } from '../../lib/words';

const SIZE = 50;

type Column = 'userId' | 'queries' | 'events' | 'entities' | 'lastSeen';

const COLUMNS: [Column, string][] = [
  ['userId', 'User'],
  ['queries', 'Queries'],
  ['events', 'Events'],
  ['entities', 'Entities'],
  ['lastSeen', 'Last seen'],
];

/** All users; sorting and paging happen in the service, so that any number of them works. */
export function Users() {
  const { keep } = useWho();
  const [sort, setSort] = useState<{ by: Column; down: boolean }>({ by: 'lastSeen', down: true });
  const filter = useListFilter();
  const { q, page, setPage } = filter;
  const order = (sort.down ? '-' : '') + sort.by;
  const users = useQuery({
    queryKey: ['admin', 'users', order, q, page],
    queryFn: ({ signal }) => api.adminUsers({ sort: order, q, page, size: SIZE }, signal),
    placeholderData: keepPreviousData,
  });
  return (
    <>
      <title>Users · Attune</title>
      <div className="toolbar">
        <FilterInput label="Filter by user" filter={filter} />
        <p className="dim small" role="status">
          {users.data && count(users.data.total, 'user')}
        </p>
      </div>
      {users.isPending && <Skeletons rows={6} className="skeleton-entity" />}
      {users.isError && <ErrorNotice error={users.error} retry={() => void users.refetch()} />}
      {users.data?.items.length === 0 && (
        <EmptyState title={q === '' ? 'No users yet' : 'No user of this name'}>
          {q === '' && <p>A user appears with the first search or event that names them.</p>}
        </EmptyState>
      )}
      {users.data && users.data.items.length > 0 && (
        <div className="table-wrap" tabIndex={0} role="region" aria-label="Users">
          <table className="table">
            <thead>
              <tr>
                {COLUMNS.map(([column, label]) => (
                  <th
                    key={column}
                    scope="col"
                    className={column === 'userId' ? undefined : 'numeric'}
                    aria-sort={sort.by !== column ? 'none' : sort.down ? 'descending' : 'ascending'}
                  >
                    <button
                      type="button"
                      onClick={() => {
                        setSort({ by: column, down: sort.by === column ? !sort.down : column !== 'userId' });
                        setPage(0);
                      }}
                    >
                      {label}
                      <span className="sort-sign">
                        {sort.by === column && <Icon name={sort.down ? 'down' : 'up'} size={14} />}
                      </span>
                    </button>
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {users.data.items.map((user) => (
                <tr key={user.userId}>
                  <th scope="row">
                    <Link to="/admin/users/$userId" params={{ userId: user.userId }} search={keep}>
                      {shortName(user.userId)}
                    </Link>
                    {user.simulated && <span className="tag">simulated</span>}
                  </th>
                  <td className="numeric">{number(user.queries)}</td>
                  <td className="numeric">{number(user.events)}</td>
                  <td className="numeric">{number(user.entities)}</td>
                  <td className="numeric">{user.lastSeen && <Time at={user.lastSeen} />}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {users.data && <Pager page={page} size={SIZE} total={users.data.total} onChange={setPage} />}
    </>
  );
}
