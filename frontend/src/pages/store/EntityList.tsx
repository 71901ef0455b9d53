import { Button, SegmentedControl } from '@mantine/core';
import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useId, useState } from 'react';
import * as api from '../../api';
import { Events } from '../../components/Events';
import { FilterInput } from '../../components/FilterInput';
import { Icon } from '../../components/Icon';
import { EmptyState, ErrorNotice, ModeMark, Skeletons, Time } from '../../components/Parts';
import { Pager } from '../../components/Pager';
import { useListFilter } from '../../lib/useListFilter';
import { useWho } from '../../lib/who';
import { count, number } from '../../lib/words';
import { forgetSearches } from '../search/useSearchStream';

const SIZE = 50;

/** The entities of a store: filter, trace, forget. */
export function EntityList({ userId }: { userId: string }) {
  const [mode, setMode] = useState('');
  const filter = useListFilter();
  const { q, page, setPage } = filter;
  const entities = useQuery({
    queryKey: ['user', userId, 'entities', mode, q, page],
    queryFn: ({ signal }) => api.entities(userId, { mode, q, page, size: SIZE }, signal),
    placeholderData: keepPreviousData,
  });
  const narrowed = mode !== '' || q !== '';
  return (
    <section aria-label="What was learned" className="entities">
      <div className="toolbar">
        <FilterInput label="Filter by name" filter={filter} />
        <SegmentedControl
          aria-label="Filter by how you know it"
          value={mode}
          onChange={(value) => {
            setMode(value);
            setPage(0);
          }}
          data={[
            { value: '', label: 'All' },
            { value: 'familiar', label: 'Familiar' },
            { value: 'unfamiliar', label: 'New' },
            { value: 'lapsed', label: 'A while ago' },
          ]}
        />
      </div>
      {entities.isPending && <Skeletons rows={8} className="skeleton-entity" />}
      {entities.isError && <ErrorNotice error={entities.error} retry={() => void entities.refetch()} />}
      {entities.data && (
        <>
          <p className="dim small" role="status">
            {count(entities.data.total, 'entity', 'entities')}
          </p>
          {entities.data.items.length === 0 &&
            (narrowed ? (
              <p className="dim">Nothing of this kind. Clear the filter to see everything.</p>
            ) : (
              <EmptyState title="Nothing learned yet">
                <p>
                  Search for something and open a result: people, films and subjects that you look for appear here a
                  moment later, with the searches they came from.
                </p>
              </EmptyState>
            ))}
          <ul className="entity-list">
            {entities.data.items.map((entity) => (
              <EntityRow key={entity.entityId} entity={entity} userId={userId} />
            ))}
          </ul>
          <Pager page={page} size={SIZE} total={entities.data.total} onChange={setPage} />
          {entities.data.forgotten.length > 0 && <Forgotten userId={userId} forgotten={entities.data.forgotten} />}
        </>
      )}
    </section>
  );
}

function EntityRow({ entity, userId }: { entity: api.StoredEntity; userId: string }) {
  const [open, setOpen] = useState(false);
  const id = useId();
  const queries = useQueryClient();
  const { keep } = useWho();
  const [state, setState] = useState<'known' | 'forgotten' | 'allowed'>('known');
  const change = useMutation({
    mutationFn: (wanted: boolean) =>
      wanted ? api.forget(userId, entity.entityId) : api.learnAgain(userId, entity.entityId),
    onSuccess: (_, wanted) => {
      setState(wanted ? 'forgotten' : 'allowed');
      forgetSearches();
      void queries.invalidateQueries({ queryKey: ['user', userId, 'events', entity.entityId] });
      void queries.invalidateQueries({ queryKey: ['suggestions'] });
    },
  });
  if (state !== 'known') {
    return (
      <li className="entity entity-forgotten">
        <p role="status">
          {state === 'forgotten' ? (
            <>
              Forgot <strong>{entity.label}</strong>. It will not be learned again.
            </>
          ) : (
            <>
              <strong>{entity.label}</strong> may be learned again, from your next search on.
            </>
          )}
        </p>
        {state === 'forgotten' && (
          <Button variant="default" size="xs" loading={change.isPending} onClick={() => change.mutate(false)}>
            Undo
          </Button>
        )}
        {change.isError && <ErrorNotice error={change.error} />}
      </li>
    );
  }
  return (
    <li className="entity">
      <div className="entity-head">
        <div className="entity-words">
          <p className="entity-name">
            <Link to="/" search={{ ...keep, q: entity.label }} title={`Search for ${entity.label}`}>
              {entity.label}
            </Link>{' '}
            <span className="dim small">{entity.type}</span> <ModeMark mode={entity.mode} />
          </p>
          <p className="dim small">
            {entity.lastSeen === entity.firstSeen ? (
              <>
                Met {entity.count === 1 ? 'once' : count(entity.count, 'time')}, <Time at={entity.firstSeen} />
              </>
            ) : (
              <>
                Met {entity.count === 1 ? 'once' : count(entity.count, 'time')}, first <Time at={entity.firstSeen} />, last{' '}
                <Time at={entity.lastSeen} />
              </>
            )}
          </p>
        </div>
        <div className="entity-actions">
          <button
            type="button"
            className="link-button"
            aria-expanded={open}
            aria-controls={id}
            onClick={() => setOpen(!open)}
          >
            Where from <span className="sr-only">{entity.label} is known</span>
            <Icon name="chevron" size={14} />
          </button>
          <Button
            variant="default"
            size="xs"
            leftSection={<Icon name="eyeOff" size={14} />}
            loading={change.isPending}
            onClick={() => change.mutate(true)}
            aria-label={`Forget ${entity.label}`}
          >
            Forget
          </Button>
        </div>
      </div>
      {change.isError && <ErrorNotice error={change.error} />}
      <div id={id} hidden={!open} className="entity-events">
        {open && <Events userId={userId} entityId={entity.entityId} />}
      </div>
    </li>
  );
}

/** What is not to be learned, and the way back. */
function Forgotten({ userId, forgotten }: { userId: string; forgotten: api.EntityPage['forgotten'] }) {
  const queries = useQueryClient();
  const allow = useMutation({
    mutationFn: (entityId: string) => api.learnAgain(userId, entityId),
    onSuccess: () => queries.invalidateQueries({ queryKey: ['user', userId, 'entities'] }),
  });
  return (
    <details className="forgotten">
      <summary>Forgotten, and not to be learned: {number(forgotten.length)}</summary>
      <ul>
        {forgotten.map((entity) => (
          <li key={entity.entityId}>
            <span>{entity.label}</span>
            <span className="dim small">
              <Time at={entity.forgottenAt} />
            </span>
            <button
              type="button"
              className="link-button"
              disabled={allow.isPending}
              onClick={() => allow.mutate(entity.entityId)}
            >
              Allow again <span className="sr-only">to learn {entity.label}</span>
            </button>
          </li>
        ))}
      </ul>
      {allow.isError && <ErrorNotice error={allow.error} />}
    </details>
  );
}
