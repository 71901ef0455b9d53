import { Button } from '@mantine/core';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useRef, useState, type KeyboardEvent } from 'react';
import * as api from '../../api';
import { EmptyState, ErrorNotice, Skeletons } from '../../components/Parts';
import { useUsers } from '../../components/UserMenu';
import { useFlip } from '../../lib/flip';
import { randomId } from '../../lib/session';
import { displayName, shortName, useWho } from '../../lib/who';
import { count, degradation, number } from '../../lib/words';
import type { SearchParams } from '../../router';
import { DocumentPanel } from './DocumentPanel';
import { Facets } from './Facets';
import { HitCard } from './HitCard';
import { SearchBox } from './SearchBox';
import { Suggestions } from './Suggestions';
import { useSearchStream, type SearchState } from './useSearchStream';

const SIZE = 20;
/** Candidates that the service ranks; there is no rank beyond. */
const RANKED = 100;

const EXAMPLES = ['heist gone wrong', 'time travel romance', 'space survival', 'films like Blade Runner'];

function filtersOf(params: SearchParams): api.SearchRequest['filters'] {
  const filters: api.SearchRequest['filters'] = {};
  if (params.genre) {
    filters.genres = params.genre;
  }
  if (params.from !== undefined || params.to !== undefined) {
    filters.year = { gte: params.from, lte: params.to };
  }
  return Object.keys(filters).length > 0 ? filters : undefined;
}

export function SearchPage() {
  const params = useSearch({ from: '/' });
  const navigate = useNavigate({ from: '/' });
  const who = useWho();
  const queries = useQueryClient();
  const input = useRef<HTMLInputElement>(null);
  const list = useRef<HTMLOListElement>(null);
  const [attempt, setAttempt] = useState(0);
  const query = params.q ?? '';
  const request: api.SearchRequest | null =
    query === ''
      ? null
      : {
          query,
          userId: who.userId,
          sessionId: who.sessionId,
          size: SIZE,
          personalization: who.privacy === 'private' ? 'off' : who.privacy,
          filters: filtersOf(params),
          facets: ['genres'],
        };
  const state = useSearchStream(request, attempt);
  const more = useMore(request, state);
  const hits = [...(state.answer?.hits ?? []), ...more.hits];
  useFlip(list, hits.map((hit) => hit.id).join(' '));

  const search = (q: string) => {
    if (q === query) {
      setAttempt((before) => before + 1);
    }
    void navigate({ search: { ...who.keep, q: q === '' ? undefined : q } });
  };

  const open = (hit: api.Hit) => {
    if (who.userId === undefined || who.sessionId === undefined || !state.answer) {
      return;
    }
    const { userId } = who;
    api
      .postClick({
        queryId: state.answer.queryId,
        userId,
        sessionId: who.sessionId,
        eventId: randomId(),
        documentId: hit.id,
        title: hit.title,
        ordinal: hit.rank,
      })
      .then(() => queries.invalidateQueries({ queryKey: ['user', userId] }))
      // The document opens all the same; only the log misses a line.
      .catch((error: unknown) => console.warn('The click was not logged.', error));
  };

  const onListKey = (event: KeyboardEvent) => {
    const links = [...(list.current?.querySelectorAll<HTMLElement>('[data-hit]') ?? [])];
    const current = links.findIndex((link) => link === window.document.activeElement);
    if (event.key === 'Escape') {
      event.preventDefault();
      input.current?.focus();
    } else if (current >= 0 && (event.key === 'ArrowDown' || event.key === 'ArrowUp')) {
      event.preventDefault();
      const next = event.key === 'ArrowDown' ? links[current + 1] : links[current - 1];
      if (next) {
        next.focus();
      } else if (event.key === 'ArrowUp') {
        input.current?.focus();
      }
    }
  };

  const ranked = state.phase === 'ranked' || state.phase === 'done' || state.phase === 'failed';
  const personal = who.privacy === 'on' || who.privacy === 'history';
  return (
    <div className="page search-page">
      <title>{query === '' ? 'Attune' : `${query} · Attune`}</title>
      <h1 className="sr-only">Search</h1>
      <SearchBox
        query={query}
        userId={who.privacy === 'off' ? undefined : who.userId}
        inputRef={input}
        onSearch={search}
        onLeaveDown={() => list.current?.querySelector<HTMLElement>('[data-hit]')?.focus()}
      />
      {query === '' ? (
        <Welcome />
      ) : (
        <div className="search-columns">
          <div className="search-results">
            {(state.answer?.total !== 0 || request?.filters !== undefined) && (
              <Facets
                genres={state.answer?.facets?.genres ?? []}
                chosen={params.genre ?? []}
                from={params.from}
                to={params.to}
                onChange={(filters) => void navigate({ search: { ...who.keep, q: query, ...filters } })}
              />
            )}
            <Status state={state} />
            {state.error !== null && <ErrorNotice error={state.error} retry={() => setAttempt((n) => n + 1)} />}
            {state.answer === null && state.phase === 'loading' && <Skeletons rows={6} className="skeleton-hit" />}
            {state.answer !== null && hits.length === 0 && state.phase !== 'loading' && (
              <Nothing narrowed={request?.filters !== undefined} />
            )}
            <ol
              ref={list}
              className="hits"
              aria-label="Results"
              aria-busy={state.phase === 'loading' || state.phase === 'retrieved'}
              data-phase={state.phase}
              onKeyDown={onListKey}
            >
              {hits.map((hit) => (
                <HitCard
                  key={hit.id}
                  hit={hit}
                  ranked={ranked && state.answer?.ranking.model !== undefined}
                  userId={who.userId}
                  open={hit.id === params.doc}
                  onOpen={open}
                />
              ))}
            </ol>
            {more.available && (
              <Button variant="default" onClick={more.load} loading={more.loading} className="more">
                Show {SIZE} more
              </Button>
            )}
            {more.error !== null && <ErrorNotice error={more.error} retry={more.load} />}
          </div>
          <aside className="search-side">
            <Suggestions
              title="Next searches"
              answer={state.suggestions}
              loading={state.phase === 'loading' || state.phase === 'retrieved' || state.phase === 'ranked'}
              userId={personal ? who.userId : undefined}
              empty="Nothing to suggest for this search."
            />
          </aside>
        </div>
      )}
      <DocumentPanel
        id={params.doc}
        query={query}
        who={who}
        onClose={() => void navigate({ search: (before) => ({ ...before, doc: undefined }), resetScroll: false })}
      />
    </div>
  );
}

/** Further hits of the same search; they are not logged as another search. */
function useMore(request: api.SearchRequest | null, state: SearchState) {
  const key = state.answer?.queryId ?? '';
  const [more, setMore] = useState<{ key: string; hits: api.Hit[]; next: number; loading: boolean; error: unknown }>();
  const mine = more?.key === key ? more : { key, hits: [], next: SIZE, loading: false, error: null };
  const first = new Set(state.answer?.hits.map((hit) => hit.id));
  const total = Math.min(RANKED, state.answer?.total ?? 0);
  const load = () => {
    if (request === null) {
      return;
    }
    setMore({ ...mine, loading: true, error: null });
    api.search({ ...request, from: mine.next, facets: undefined }).then(
      (answer) => setMore({ key, hits: [...mine.hits, ...answer.hits], next: mine.next + SIZE, loading: false, error: null }),
      (error: unknown) => setMore({ ...mine, loading: false, error }),
    );
  };
  return {
    hits: mine.hits.filter((hit, i, all) => !first.has(hit.id) && all.findIndex((one) => one.id === hit.id) === i),
    available: state.phase === 'done' && mine.next < total && mine.error === null,
    loading: mine.loading,
    error: mine.error,
    load,
  };
}

/** One line on how the answer came about, and what it had to do without. */
function Status({ state }: { state: SearchState }) {
  const { answer, phase } = state;
  const ranking = answer?.ranking;
  return (
    <div className="status">
      <p role="status">
        {answer === null ? (
          phase === 'failed' ? (
            ''
          ) : (
            'Searching…'
          )
        ) : (
          <>
            <strong>{count(answer.total, 'result')}</strong>
            {phase === 'loading' && ' · searching…'}
            {phase === 'retrieved' && ' · reading them in context…'}
            {(phase === 'ranked' || phase === 'done') && ranking?.model && (
              <>
                {' '}
                · {number(ranking.documents)} read in context, {number(ranking.warmDocuments)} of them read before
              </>
            )}
            {(phase === 'ranked' || phase === 'done') && <> · {number(answer.timings.totalMs)} ms</>}
          </>
        )}
      </p>
      {answer?.degraded.map((part) => (
        <p key={part} className="notice notice-degraded">
          {degradation(part, { model: answer.ranking.model })}
        </p>
      ))}
    </div>
  );
}

function useHasDocuments(): boolean {
  const documents = useQuery({
    queryKey: ['documents'],
    queryFn: ({ signal }) => api.hasDocuments(signal),
    // Once there are some it is not asked again; until then they may be loading.
    staleTime: (query) => (query.state.data ? Infinity : 0),
    refetchInterval: (query) => (query.state.data === false ? 5_000 : false),
  });
  return documents.data !== false;
}

/** Before the first document. */
function NoDocuments() {
  const { keep } = useWho();
  return (
    <EmptyState title="Nothing to search yet">
      <p>
        There are no documents. Send some to <code className="break">POST /api/v1/documents</code>; if the demo is
        loading, <Link to="/admin/jobs" search={keep}>its job</Link> says how far it is.
      </p>
    </EmptyState>
  );
}

function Nothing({ narrowed }: { narrowed: boolean }) {
  const hasDocuments = useHasDocuments();
  if (!hasDocuments) {
    return <NoDocuments />;
  }
  return (
    <EmptyState title="Nothing matches">
      <p>
        {narrowed
          ? 'Clear the filters above, or use fewer words.'
          : 'Check the spelling, use fewer words, or describe what you are looking for in other words.'}
      </p>
    </EmptyState>
  );
}

/** Before the first search: what can be done here. */
function Welcome() {
  const who = useWho();
  const users = useUsers();
  const hasDocuments = useHasDocuments();
  const demo = users.data?.items.filter((user) => user.simulated).slice(0, 6) ?? [];
  return (
    <div className="welcome">
      <p className="welcome-lead">
        Search that remembers what you were looking for, shows you how it used that, and forgets it when you say so.
      </p>
      {hasDocuments ? (
        <section aria-label="Examples">
          <h2>Try</h2>
          <ul className="chips">
            {EXAMPLES.map((example) => (
              <li key={example}>
                <Link to="/" search={{ ...who.keep, q: example }} className="facet">
                  {example}
                </Link>
              </li>
            ))}
          </ul>
        </section>
      ) : (
        <NoDocuments />
      )}
      <section aria-label="People" className="welcome-people">
        <h2>{who.name === undefined ? 'As whom?' : `Searching as ${displayName(who.name)}`}</h2>
        <p className="dim">
          {who.name === undefined
            ? `You search as nobody: nothing is logged or learned. ${
                demo.length > 0 ? 'Choose one of the simulated people to see what a history changes, or use' : 'Use'
              } a name of your own (at the top right).`
            : 'What this person looked for before shapes results and suggestions. Switch it off or to somebody else at the top right.'}
        </p>
        {demo.length > 0 && (
          <ul className="chips">
            {demo.map((user) => (
              <li key={user.userId}>
                <button
                  type="button"
                  className="facet"
                  aria-pressed={who.name === user.userId}
                  onClick={() => who.change({ user: who.name === user.userId ? undefined : user.userId })}
                >
                  {shortName(user.userId)} <span className="facet-count">simulated</span>
                </button>
              </li>
            ))}
          </ul>
        )}
      </section>
    </div>
  );
}
