import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Link, useParams } from '@tanstack/react-router';
import { Fragment, useId, useState } from 'react';
import * as api from '../../api';
import { Events } from '../../components/Events';
import { FilterInput } from '../../components/FilterInput';
import { Icon } from '../../components/Icon';
import { Pager } from '../../components/Pager';
import { EmptyState, ErrorNotice, ModeMark, Skeletons, Time } from '../../components/Parts';
import { useListFilter } from '../../lib/useListFilter';
import { displayName, shortName, useWho } from '../../lib/who';
import { count, number } from '../../lib/words';

const SIZE = 50;

/** One user's store, each entity traced to the events behind it. */
export function UserStore() {
  const { userId } = useParams({ from: '/admin/users/$userId' });
  const { keep } = useWho();
  const filter = useListFilter();
  const { q, page, setPage } = filter;
  const user = useQuery({
    queryKey: ['admin', 'user', userId],
    queryFn: ({ signal }) => api.adminUser(userId, signal),
    retry: false,
  });
  const entities = useQuery({
    queryKey: ['user', userId, 'entities', '', q, page],
    queryFn: ({ signal }) => api.entities(userId, { q, page, size: SIZE }, signal),
    placeholderData: keepPreviousData,
  });
  return (
    <>
      <title>{`${displayName(userId)} · Attune`}</title>
      <p className="crumbs">
        <Link to="/admin/users" search={keep}>
          Users
        </Link>{' '}
        / {displayName(userId)}
      </p>
      {user.isLoadingError ? (
        <ErrorNotice error={user.error} retry={() => void user.refetch()} />
      ) : (
        <>
          <div className="user-head">
            <h2>
              {shortName(userId)} {user.data?.simulated && <span className="tag">simulated</span>}
            </h2>
            <p className="dim">
              {user.data && (
                <>
                  {count(user.data.queries, 'query', 'queries')} · {count(user.data.events, 'event')} ·{' '}
                  {count(user.data.entities, 'entity', 'entities')}
                  {user.data.lastSeen && (
                    <>
                      {' '}
                      · last seen <Time at={user.data.lastSeen} />
                    </>
                  )}
                </>
              )}
            </p>
            <Link to="/admin/users/$userId/simulate" params={{ userId }} search={keep}>
              Simulate a search without a trace <Icon name="arrow" size={14} />
            </Link>
            <Link to="/" search={{ user: userId }}>
              Search as this user <Icon name="arrow" size={14} />
            </Link>
          </div>
          <div className="toolbar">
            <FilterInput label="Filter by entity" filter={filter} />
            <p className="dim small" role="status">
              {entities.data && count(entities.data.total, 'entity', 'entities')}
            </p>
          </div>
          {entities.isPending && <Skeletons rows={6} className="skeleton-entity" />}
          {entities.isError && <ErrorNotice error={entities.error} retry={() => void entities.refetch()} />}
          {entities.data?.items.length === 0 && (
            <EmptyState title="Nothing learned">
              <p>{q === '' ? 'This user has no store, or asked not to be learned from.' : 'No entity of this name.'}</p>
            </EmptyState>
          )}
          {entities.data && entities.data.items.length > 0 && (
            <div className="table-wrap" tabIndex={0} role="region" aria-label="Entities">
              <table className="table">
                <thead>
                  <tr>
                    <th scope="col">Entity</th>
                    <th scope="col">Type</th>
                    <th scope="col">Standing</th>
                    <th scope="col" className="numeric">
                      Count
                    </th>
                    <th scope="col" className="numeric">
                      First seen
                    </th>
                    <th scope="col" className="numeric">
                      Last seen
                    </th>
                    <th scope="col">
                      <span className="sr-only">Events</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {entities.data.items.map((entity) => (
                    <EntityRows key={entity.entityId} userId={userId} entity={entity} />
                  ))}
                </tbody>
              </table>
            </div>
          )}
          {entities.data && <Pager page={page} size={SIZE} total={entities.data.total} onChange={setPage} />}
        </>
      )}
    </>
  );
}

function EntityRows({ userId, entity }: { userId: string; entity: api.StoredEntity }) {
  const [open, setOpen] = useState(false);
  const id = useId();
  return (
    <Fragment>
      <tr>
        <th scope="row">{entity.label}</th>
        <td className="dim">{entity.type}</td>
        <td>
          <ModeMark mode={entity.mode} />
        </td>
        <td className="numeric">{number(entity.count)}</td>
        <td className="numeric">
          <Time at={entity.firstSeen} />
        </td>
        <td className="numeric">
          <Time at={entity.lastSeen} />
        </td>
        <td>
          <button
            type="button"
            className="link-button"
            aria-expanded={open}
            aria-controls={id}
            onClick={() => setOpen(!open)}
          >
            Events <span className="sr-only">behind {entity.label}</span>
            <Icon name="chevron" size={14} />
          </button>
        </td>
      </tr>
      <tr id={id} hidden={!open}>
        <td colSpan={7}>{open && <Events userId={userId} entityId={entity.entityId} />}</td>
      </tr>
    </Fragment>
  );
}
